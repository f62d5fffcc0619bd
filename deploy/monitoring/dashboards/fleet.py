"""The fleet: all gateways of a namespace, their engines, and what Kubernetes runs."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import stat, table
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.engines import engines
from deploy.monitoring.dashboards.hosts import GATEWAY, gateways, kubernetes
from deploy.monitoring.dashboards.parts import (
    FAILED,
    NAMESPACE,
    ORANGE,
    OURS,
    RED,
    YELLOW,
    About,
    Panel,
    board,
    burn,
    choice,
    distribution,
    lines,
    mean,
    now,
    number,
    per_second,
    quantiles,
    query,
    rows,
    stacked,
)

_MODEL: Final = "namespace, model"
_ENGINE: Final = "namespace, engine"
_SHED: Final = f'{NAMESPACE}, outcome="shed"'
_QUEUE: Final = f'{NAMESPACE}, stage="queue"'
# An alert that something is absent altogether has no namespace.
_FIRING: Final = 'ALERTS{alertstate="firing", alertname=~"Attnserve.*", namespace=~"$namespace|"}'


def make() -> Dashboard:
    """The dashboard."""
    text = (
        "All gateways of a namespace at a glance: what is asked, how it ends, how long it takes, what waits."
    )
    return board(
        "fleet",
        About("attnserve / Fleet", text, ""),
        [choice("namespace", "Namespace", "attnserve_model_ready")],
        {
            "Now": _overview(),
            "Requests": [*_requests(), *_latency()],
            "Waiting": [*_waiting(), *_batches()],
            "Engines": engines(),
            "Gateways": gateways(),
            "Kubernetes": kubernetes(),
        },
    )


def _overview() -> list[Panel]:
    return [*(panel.span(3) for panel in (*_asked(), *_health())), _alerts()]


def _asked() -> list[stat.Panel]:
    requests, failed, ours = (
        f"sum(rate(attnserve_requests_total{{{where}}}[$__rate_interval]))"
        for where in (NAMESPACE, f"{NAMESPACE}, {FAILED}", f"{NAMESPACE}, {OURS}")
    )
    burns = burn("1h", f'{NAMESPACE}, experiment=""')
    in_hand = f"sum(rate(attnserve_predict_seconds_total{{{NAMESPACE}}}[$__rate_interval]))"
    return [
        number(
            About("Requests a second", "Over all models and both protocols.", "reqps"),
            query(requests, "requests"),
        ),
        number(
            About(
                "Failed requests",
                "Share that failed through no fault of the caller: shed, too late, no engine, or a bug. "
                "Nothing is shown while nobody asks.",
                "percentunit",
            ),
            query(f"{failed} / {ours}", "failed"),
            limits={0.001: YELLOW, 0.01: RED},
        ),
        number(
            About(
                "Budget burn",
                "How many times too fast the model that is worst off uses up what an objective allows, over "
                "an hour. At 1 the allowance of a month lasts a month; at 14.4 it is gone in two days.",
                "suffix:times",
            ),
            query(f"max({burns})", "worst"),
            limits={1: YELLOW, 6: ORANGE, 14.4: RED},
        ),
        number(
            About("In hand", "Mean number of requests that wait for a model's answer.", "short"),
            query(in_hand, "requests"),
        ),
    ]


def _health() -> list[stat.Panel]:
    ejected = f"count(max by ({_ENGINE}) (attnserve_engine_ejected{{{NAMESPACE}}}) == 1) or vector(0)"
    return [
        number(
            About("Gateways", "Gateways that Prometheus scrapes.", "short"),
            query(f"count({GATEWAY})", "gateways"),
        ),
        number(
            About(
                "Not ready",
                "Versions of models that some gateway serves and that cannot answer there.",
                "short",
            ),
            query(f"count(attnserve_model_ready{{{NAMESPACE}}} == 0) or vector(0)", "versions"),
            limits={1: RED},
        ),
        number(
            About("Engines ejected", "Engines that some gateway sends no batches to.", "short"),
            query(ejected, "engines"),
            limits={1: ORANGE},
        ),
        number(
            About("Alerts firing", "Each has a section in the runbook that says what to do.", "short"),
            now(f"count({_FIRING}) or vector(0)", "alerts"),
            limits={1: RED},
        ),
    ]


def _alerts() -> table.Panel:
    about = About(
        "Alerts", "What fires now, and for what; its section in the runbook says what to do.", "short"
    )
    # Of the labels all that tell one from another; several pairs of windows of an objective are one row.
    by = "namespace, alertname, severity, model, slo, experiment, arm, engine"
    panel = rows(about, now(f"max by ({by}) ({_FIRING})", ""))
    return panel.no_value("No alert fires.").span(24).height(5)


def _requests() -> list[Panel]:
    return [
        stacked(
            About(
                "Requests a second by model",
                "What callers ask for; 'unknown' are requests for a model that does not exist.",
                "reqps",
            ),
            query(per_second("attnserve_requests_total", _MODEL), "{{model}}"),
        ),
        lines(
            About(
                "Requests a second by outcome",
                "client_error is the caller's mistake, shed means that the gateway had no room, timeout that "
                "the deadline passed, unavailable that no engine could answer, internal is a bug.",
                "reqps",
            ),
            query(per_second("attnserve_requests_total", "namespace, outcome"), "{{outcome}}"),
        ),
        stacked(
            About("Images a second by model", "Images that were answered well.", "suffix:images/s"),
            query(
                per_second("attnserve_images_total", _MODEL, f'{NAMESPACE}, outcome="ok"'),
                "{{model}}",
            ),
        ),
    ]


def _latency() -> list[Panel]:
    return [
        lines(
            About(
                "Latency",
                "From a request's arrival at the gateway to its answer, over all models and outcomes. A fast "
                "refusal pulls it down: look at the outcomes, too.",
                "s",
            ),
            *quantiles("attnserve_request_duration_seconds", "namespace"),
        ),
        lines(
            About("p99 latency by model", "Which model is slow.", "s"),
            query(
                "histogram_quantile(0.99, "
                f"{per_second('attnserve_request_duration_seconds_bucket', f'le, {_MODEL}')})",
                "{{model}}",
            ),
        ),
        lines(
            About(
                "Shed requests",
                "Share of a model's requests that were refused at once since too many waited already. "
                "Workers are too few for the load.",
                "percentunit",
            ),
            query(
                f"{per_second('attnserve_requests_total', _MODEL, _SHED)} / "
                f"{per_second('attnserve_requests_total', _MODEL)}",
                "{{model}}",
            ),
            limits={0.001: YELLOW, 0.01: RED},
        ),
    ]


def _waiting() -> list[Panel]:
    return [
        lines(
            About(
                "Requests in hand",
                "Mean number of requests that wait for a model's answer (by Little's law: seconds waited a "
                "second). Workers are scaled by it.",
                "short",
            ),
            query(per_second("attnserve_predict_seconds_total", _MODEL), "{{model}}"),
        ),
        lines(
            About(
                "Images that wait in the gateways",
                "They have not been sent to an engine yet. Long queues fill the deadline with waiting.",
                "short",
            ),
            query(f"sum by ({_MODEL}) (attnserve_queue_images{{{NAMESPACE}}})", "{{model}}"),
        ),
    ]


def _batches() -> list[Panel]:
    return [
        lines(
            About("Mean batch", "Images that went to an engine together.", "suffix:images"),
            query(mean("attnserve_batch_images", _MODEL), "{{model}}"),
        ),
        distribution(
            About(
                "Batch sizes",
                "How many batches held how many images at most. Ones under load mean that batching does "
                "nothing.",
                "short",
            ),
            "attnserve_batch_images",
            "suffix:images",
        ).span(12),
        lines(
            About(
                "Time in the queue, p95",
                "What requests that were answered had waited in the gateway. It guards the autoscaling.",
                "s",
            ),
            query(
                "histogram_quantile(0.95, "
                f"{per_second('attnserve_stage_duration_seconds_bucket', f'le, {_MODEL}', _QUEUE)})",
                "{{model}}",
            ),
        ).span(12),
    ]
