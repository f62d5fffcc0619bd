"""One model, or several: how requests end, where their time goes, how batches are made."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.parts import (
    FAILED,
    GREEN,
    NAMESPACE,
    ORANGE,
    OURS,
    RED,
    YELLOW,
    About,
    Panel,
    State,
    board,
    burn,
    choice,
    distribution,
    lines,
    mean,
    number,
    per_second,
    quantiles,
    query,
    stacked,
    states,
)

_BY: Final = "namespace, model"
_MODEL: Final = f'{NAMESPACE}, model=~"$model"'
_VERSION: Final = f'{_MODEL}, version=~"$version"'
_STAGE: Final = "attnserve_stage_duration_seconds"


def make() -> Dashboard:
    """The dashboard."""
    text = "Of one model, or of several: how requests end, where their time goes, and how batches are made."
    ready = "attnserve_model_ready"
    return board(
        "model",
        About("attnserve / Model", text, ""),
        [
            choice("namespace", "Namespace", ready),
            choice("model", "Model", f"{ready}{{{NAMESPACE}}}"),
            choice("version", "Version", f"{ready}{{{_MODEL}}}"),
        ],
        {
            "Now": _overview(),
            "Requests": _requests(),
            "Objectives": _objectives(),
            "Stages": _stages(),
            "Batches": [*_batches(), *_around_batches()],
        },
    )


def _overview() -> list[Panel]:
    ours = per_second("attnserve_requests_total", _BY, f"{_VERSION}, {OURS}")
    failed = per_second("attnserve_requests_total", _BY, f"{_VERSION}, {FAILED}")
    return [
        states(
            About("Ready", "Whether the version can answer in every gateway.", "none"),
            (State(1, "ready", GREEN), State(0, "not ready", RED)),
            query(f"min by ({_BY}, version) (attnserve_model_ready{{{_VERSION}}})", "{{model}} {{version}}"),
        ).height(5),
        number(
            About("Throughput", "Images that were answered well.", "suffix:images/s"),
            query(per_second("attnserve_images_total", _BY, f'{_VERSION}, outcome="ok"'), "{{model}}"),
        )
        .span(6)
        .height(5),
        number(
            About(
                "Failed requests",
                "Share that failed through no fault of the caller. Nothing is shown while nobody asks.",
                "percentunit",
            ),
            query(f"{failed} / {ours}", "{{model}}"),
            limits={0.001: YELLOW, 0.01: RED},
        )
        .span(6)
        .height(5),
    ]


def _requests() -> list[Panel]:
    return [
        lines(
            About(
                "Requests a second",
                "By how they ended and by protocol. client_error is the caller's mistake, shed means that "
                "there was no room, timeout that the deadline passed, unavailable that no engine could "
                "answer.",
                "reqps",
            ),
            query(
                per_second("attnserve_requests_total", f"{_BY}, outcome, protocol", _VERSION),
                "{{model}} {{outcome}} {{protocol}}",
            ),
        ).span(12),
        stacked(
            About(
                "Images a second",
                "By how they ended; a failed request fails all of its images.",
                "suffix:images/s",
            ),
            query(per_second("attnserve_images_total", f"{_BY}, outcome", _VERSION), "{{model}} {{outcome}}"),
        ).span(12),
        lines(
            About(
                "Latency",
                "From a request's arrival at the gateway to its answer, whatever it was.",
                "s",
            ),
            *quantiles("attnserve_request_duration_seconds", _BY, _VERSION),
        ).span(12),
        distribution(
            About("Latencies", "How many requests took how long at most.", "short"),
            "attnserve_request_duration_seconds",
            "s",
            _VERSION,
        ).span(12),
    ]


def _objectives() -> list[Panel]:
    mine = f'{_MODEL}, experiment=""'
    return [
        lines(
            About(
                "Broken objectives",
                "Share of the requests that broke an objective, over five minutes: availability, where they "
                "failed through no fault of the caller, and latency, where they took too long.",
                "percentunit",
            ),
            query(f"attnserve:slo_failures:ratio_rate5m{{{mine}}}", "{{model}} {{slo}}"),
        ).span(12),
        lines(
            About(
                "Budget burn",
                "How many times too fast the failures come that an objective allows. At 1 the allowance of a "
                "month lasts a month; 14.4 over an hour and 6 over six hours wake somebody.",
                "suffix:times",
            ),
            *(
                query(burn(window, mine), f"{{{{model}}}} {{{{slo}}}}, {window}")
                for window in ("1h", "6h", "3d")
            ),
            limits={1: YELLOW, 6: ORANGE, 14.4: RED},
        ).span(12),
    ]


def _stages() -> list[Panel]:
    return [
        stacked(
            About(
                "Mean time by stage",
                "Queue: what a request waited in the gateway. Decode, inference and encode: what the worker "
                "spent on its batch. What is missing to the latency is the network and the worker's own "
                "queue.",
                "s",
            ),
            query(mean(_STAGE, f"{_BY}, stage", _MODEL), "{{model}} {{stage}}"),
        ),
        lines(
            About("Stages, p95", "The slow ones of each stage.", "s"),
            query(
                f"histogram_quantile(0.95, {per_second(f'{_STAGE}_bucket', f'le, {_BY}, stage', _MODEL)})",
                "{{model}} {{stage}}",
            ),
        ),
        lines(
            About(
                "In hand",
                "Mean number of requests that wait for an answer, mirrored ones of experiments too (by "
                "Little's law); workers are scaled by it. Beside it what is counted at the moment of a "
                "scrape.",
                "short",
            ),
            query(per_second("attnserve_predict_seconds_total", _BY, _MODEL), "{{model}}, mean"),
            query(f"sum by ({_BY}) (attnserve_inflight_requests{{{_MODEL}}})", "{{model}}, now"),
        ),
    ]


def _batches() -> list[Panel]:
    return [
        lines(
            About(
                "Mean batch and its target",
                "Images that went to an engine together, and how many make a batch whole while workers are "
                "busy, as the gateways have learned it (the mean of all).",
                "suffix:images",
            ),
            query(mean("attnserve_batch_images", _BY, _MODEL), "{{model}}"),
            query(f"avg by ({_BY}) (attnserve_batch_target_images{{{_MODEL}}})", "{{model}}, target"),
        ),
        distribution(
            About("Batch sizes", "How many batches held how many images at most.", "short"),
            "attnserve_batch_images",
            "suffix:images",
            _MODEL,
        ),
        stacked(
            About(
                "Why batches left",
                "idle: a worker was free, full: it was whole, deadline: a request in it could wait no "
                "longer, ahead: it is there when a worker gets free.",
                "suffix:batches/s",
            ),
            query(
                per_second("attnserve_batch_release_total", f"{_BY}, reason", _MODEL), "{{model}} {{reason}}"
            ),
        ),
    ]


def _around_batches() -> list[Panel]:
    return [
        lines(
            About("Images that wait in the gateways", "They have not been sent to an engine yet.", "short"),
            query(f"sum by ({_BY}) (attnserve_queue_images{{{_MODEL}}})", "{{model}}"),
        ).span(12),
        lines(
            About(
                "Attempts that failed",
                "Batches that an engine did not answer, by why; most are sent again and hurt nobody.",
                "suffix:batches/s",
            ),
            query(
                per_second("attnserve_engine_attempts_total", f"{_BY}, outcome", f'{_MODEL}, outcome!="ok"'),
                "{{model}} {{outcome}}",
            ),
            limits={1: ORANGE},
        ).span(12),
    ]
