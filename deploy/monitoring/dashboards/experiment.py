"""One experiment, or several: verdict, arms side by side, agreement, guardrails.

The curves are for watching. Verdicts and rollbacks are decided from the exact sums of the ledger, and
`attnserve experiment report` shows them with their intervals.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.parts import (
    BLUE,
    FAILED,
    GREEN,
    NAMESPACE,
    ORANGE,
    OURS,
    QUANTILES,
    RED,
    YELLOW,
    About,
    Panel,
    State,
    board,
    burn,
    choice,
    lines,
    mean,
    now,
    number,
    per_second,
    query,
    states,
)
from serve.core.verdict import Verdict

_BY: Final = "namespace, experiment"
_ARM: Final = f"{_BY}, arm"
_EXPERIMENT: Final = f'{NAMESPACE}, experiment=~"$experiment"'
_REQUESTS: Final = "attnserve_experiment_requests_total"
_COLOURS: Final = {
    Verdict.GUARDRAIL_TRIPPED: RED,
    Verdict.BROKEN: RED,
    Verdict.INSUFFICIENT_DATA: "text",
    Verdict.NO_DIFFERENCE: BLUE,
    Verdict.BETTER: GREEN,
    Verdict.WORSE: ORANGE,
    Verdict.UNDECIDED: YELLOW,
}


def make() -> Dashboard:
    """The dashboard."""
    text = (
        "Of one experiment, or of several: the verdict, the arms side by side, agreement and guardrails. An "
        "experiment has series only while it is live; `attnserve experiment report` has the exact figures."
    )
    verdict = "attnserve_experiment_verdict"
    return board(
        "experiment",
        About("attnserve / Experiment", text, ""),
        [
            choice("namespace", "Namespace", verdict),
            choice("experiment", "Experiment", f"{verdict}{{{NAMESPACE}}}"),
        ],
        {
            "Verdict": [_verdict(), *_guardrails()],
            "Requests": [*_requests(), *_arms()],
            "Latency": _latency(),
            "Quality": _quality(),
        },
    )


def _verdict() -> Panel:
    known = [
        State(place, verdict.value.replace("_", " "), _COLOURS[verdict])
        for place, verdict in enumerate(Verdict, start=1)
    ]
    numbered = " or ".join(
        f'{place} * attnserve_experiment_verdict{{{_EXPERIMENT}, verdict="{verdict.value}"}}'
        for place, verdict in enumerate(Verdict, start=1)
    )
    return states(
        About(
            "Verdict",
            "What the gateways say of the experiment. Broken means that the comparison itself cannot be "
            "trusted, such as arms whose shares are not what was asked for. Gateways may differ for a "
            "poll.",
            "none",
        ),
        known,
        query(f"max by ({_BY}) ({numbered})", "{{experiment}}"),
    ).height(6)


def _guardrails() -> list[Panel]:
    watched = f"min by (namespace) (attnserve_experiment_watch_success{{{NAMESPACE}}})"
    tripped = f"sum by ({_BY}, reason) (attnserve_experiment_rollbacks_total{{{_EXPERIMENT}}})"
    return [
        states(
            About(
                "Guardrails watched",
                "Whether every live experiment could be evaluated at the last poll; else guardrails do not "
                "act.",
                "none",
            ),
            (State(1, "watched", GREEN), State(0, "not watched", RED)),
            query(watched, "{{namespace}}"),
        )
        .span(6)
        .height(6),
        number(
            About(
                "Rollbacks",
                "By the guardrail that was crossed. After one all requests go to the control; the series "
                "stays when the experiment is over.",
                "short",
            ),
            now(tripped, "{{experiment}} {{reason}}"),
            limits={1: RED},
        )
        .span(6)
        .height(6),
    ]


def _requests() -> list[Panel]:
    return [
        lines(
            About(
                "Requests a second by arm",
                "By the arm that the unit was assigned to, whoever answered in the end; in a paired "
                "experiment each arm has every request.",
                "reqps",
            ),
            query(per_second(_REQUESTS, _ARM, _EXPERIMENT), "{{experiment}} {{arm}}"),
        ),
        lines(
            About(
                "Requests a second by outcome",
                "How they ended for the caller; in the legend after the arm.",
                "reqps",
            ),
            query(
                per_second(_REQUESTS, f"{_ARM}, outcome", _EXPERIMENT), "{{experiment}} {{arm}} {{outcome}}"
            ),
        ),
        lines(
            About(
                "Requests a second by assignment",
                "Why that arm: hash is the random draw, which alone counts in the comparison; fallback means "
                "that the arm failed and the control answered; single, holdout and override are by design.",
                "reqps",
            ),
            query(
                per_second(_REQUESTS, f"{_ARM}, assignment", _EXPERIMENT),
                "{{experiment}} {{arm}} {{assignment}}",
            ),
        ),
    ]


def _arms() -> list[Panel]:
    ours = per_second(_REQUESTS, _ARM, f"{_EXPERIMENT}, {OURS}")
    failed = per_second(_REQUESTS, _ARM, f"{_EXPERIMENT}, {FAILED}")
    return [
        lines(
            About(
                "Error ratio by arm",
                "Share of an arm's requests that failed through no fault of the caller.",
                "percentunit",
            ),
            query(f"{failed} / {ours}", "{{experiment}} {{arm}}"),
            limits={0.01: RED},
        ),
        lines(
            About(
                "Budget burn by arm",
                "How many times too fast an arm uses up what an objective allows, over an hour; 1 is the "
                "rate that a month allows.",
                "suffix:times",
            ),
            query(burn("1h", f'{_EXPERIMENT}, experiment!=""'), "{{experiment}} {{arm}} {{slo}}"),
            limits={1: YELLOW, 6: ORANGE, 14.4: RED},
        ),
        lines(
            About(
                "Share of the requests by arm",
                "What the weights of the design make of the traffic; a share that drifts away from its "
                "weight breaks the comparison.",
                "percentunit",
            ),
            query(
                f"{per_second(_REQUESTS, _ARM, _EXPERIMENT)} / on (namespace, experiment) group_left () "
                f"{per_second(_REQUESTS, _BY, _EXPERIMENT)}",
                "{{experiment}} {{arm}}",
            ),
        ),
    ]


def _latency() -> list[Panel]:
    histogram = "attnserve_experiment_duration_seconds"
    buckets = per_second(f"{histogram}_bucket", f"le, {_ARM}", _EXPERIMENT)
    by_quantile = [
        lines(
            About(
                f"p{quantile * 100:.0f} by arm",
                "From the call of an arm to its answer, mirrored calls included. Arms are to be compared at "
                "the same time of day, and the report gives the interval of their difference.",
                "s",
            ),
            query(f"histogram_quantile({quantile}, {buckets})", "{{experiment}} {{arm}}"),
        ).span(6)
        for quantile in QUANTILES
    ]
    means = lines(
        About("Mean by arm", "From the call of an arm to its answer, mirrored calls included.", "s"),
        query(mean(histogram, _ARM, _EXPERIMENT), "{{experiment}} {{arm}}"),
    ).span(6)
    return [*by_quantile, means]


def _quality() -> list[Panel]:
    compared = per_second("attnserve_experiment_agreement_total", _BY, _EXPERIMENT)
    agreed = per_second("attnserve_experiment_agreement_total", _BY, f'{_EXPERIMENT}, agrees="true"')
    return [
        lines(
            About(
                "Agreement",
                "Share of the images that both arms answered and of which they say the same. Paired and "
                "shadow experiments only: in a split one no image has two answers.",
                "percentunit",
            ),
            query(f"{agreed} / {compared}", "{{experiment}}"),
        ),
        lines(
            About("Images compared a second", "By whether the two arms agree.", "suffix:images/s"),
            query(
                per_second("attnserve_experiment_agreement_total", f"{_BY}, agrees", _EXPERIMENT),
                "{{experiment}}, agree: {{agrees}}",
            ),
        ),
        lines(
            About(
                "Lost",
                "Records that did not reach the store, and mirrored calls that were never begun. Few do no "
                "harm; many make the report speak of a part of the traffic.",
                "suffix:calls/s",
            ),
            query(
                per_second("attnserve_experiment_dropped_total", f"{_ARM}, what", _EXPERIMENT),
                "{{experiment}} {{arm}} {{what}}",
            ),
            limits={1: ORANGE},
        ),
    ]
