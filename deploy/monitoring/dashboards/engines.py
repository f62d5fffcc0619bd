"""Panels of the fleet's middle: the engines, as the gateways see them."""

from __future__ import annotations

from typing import Final

from deploy.monitoring.dashboards.parts import (
    GREEN,
    NAMESPACE,
    RED,
    YELLOW,
    About,
    Panel,
    State,
    lines,
    per_second,
    query,
    states,
)

_MODEL: Final = "namespace, model"
_ENGINE: Final = "namespace, engine"


def engines() -> list[Panel]:
    """Of what the gateways send, and of whom they send it to."""
    return [*_batches(), *_states()]


def _batches() -> list[Panel]:
    restarts, ejections = (
        f"sum by (namespace, {label}) (increase({counter}{{{NAMESPACE}}}[$__rate_interval]))"
        for counter, label in (
            ("attnserve_engine_restarts_total", "engine"),
            ("attnserve_engine_ejections_total", "reason"),
        )
    )
    return [
        lines(
            About(
                "Batches sent, by how it ended",
                "ok, or: lost and unreachable (the connection), timeout, overloaded, missing (not loaded "
                "there), refused (an image's fault), garbled (no answer that we understand).",
                "suffix:batches/s",
            ),
            query(per_second("attnserve_engine_attempts_total", "namespace, outcome"), "{{outcome}}"),
        ),
        lines(
            About(
                "Sent again",
                "Batches that went to another attempt after an engine had failed them, and batches that did "
                "not since the budget for that was spent.",
                "suffix:batches/s",
            ),
            query(per_second("attnserve_engine_retries_total", _ENGINE), "after {{engine}}"),
            query(per_second("attnserve_engine_retries_refused_total", _MODEL), "refused, {{model}}"),
        ),
        lines(
            About(
                "Restarts and ejections",
                "Unexpected ends of a supervised engine, and engines taken out, by why, when they happen.",
                "short",
            ),
            query(restarts, "restarts of {{engine}}"),
            query(ejections, "ejected: {{reason}}"),
            limits={1: RED},
        ),
    ]


def _states() -> list[Panel]:
    breaker = (
        f'max by ({_MODEL}, engine) (2 * attnserve_engine_breaker{{{NAMESPACE}, state="open"}} '
        f'or attnserve_engine_breaker{{{NAMESPACE}, state="half_open"}})'
    )
    return [
        states(
            About(
                "Circuit breakers",
                "By model and engine, the worst of all gateways. Open: no batches go there; half open: one "
                "is sent as a trial.",
                "none",
            ),
            (State(0, "closed", GREEN), State(1, "half open", YELLOW), State(2, "open", RED)),
            query(breaker, "{{model}} on {{engine}}"),
        ),
        states(
            About("Engines", "In use, or ejected by at least one gateway.", "none"),
            (State(0, "in use", GREEN), State(1, "ejected", RED)),
            query(f"max by ({_ENGINE}) (attnserve_engine_ejected{{{NAMESPACE}}})", "{{engine}}"),
        ),
    ]
