"""The page: from the document to one HTML text without a script and without anything from outside."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader

from serve.reporting import pictures
from serve.reporting.figures import (
    NONE,
    begun,
    count,
    decimal,
    evidence,
    images,
    setting,
    utc,
)
from serve.reporting.health import checks
from serve.reporting.measure import Measure
from serve.reporting.metrics import metrics_table
from serve.reporting.node import Node
from serve.reporting.shell import environment, styled
from serve.reporting.summary import summary
from serve.reporting.words import ALERTS, AUTHORS, MODES, STATES

MOST_CLASSES = 100
MOST_VERSIONS = 200
_POINTS = Measure(scale=100, unit="points", signed=True, digits=2)
_WHOLE = 10_000


def page(document: object) -> str:
    """Draw a report.

    Args:
        document: An object with `report` (of `serve.core.report`), `looks`, `history`, `design` and
            `rendered_at` (Unix time), of which any part may be missing.
    """
    node = Node(document)
    report = node.node("report")
    looks, history = node.nodes("looks"), node.nodes("history")
    at = report.moment("at") or node.moment("rendered_at")
    return (
        _environment()
        .get_template("page.html")
        .render(
            **styled(),
            report=report,
            design=node.node("design"),
            history=history[-MOST_VERSIONS:],
            versions=len(history),
            rendered_at=node.moment("rendered_at"),
            health=checks(report.nodes("health")),
            summary=summary(report, _started(history)),
            metrics=metrics_table(report.nodes("rows")),
            classes=_notable(report.nodes("classes")),
            lifts=pictures.lifts(report, looks, history),
            latency=pictures.latency(report),
            confusions=pictures.confusions(report),
            timeline=pictures.timeline(history, at),
        )
    )


def _environment() -> Environment:
    found = environment(PackageLoader("serve.reporting", ""))
    found.filters.update(
        begun=begun,
        count=count,
        decimal=decimal,
        evidence=evidence,
        images=images,
        points=_POINTS.one,
        setting=setting,
        utc=utc,
        share=_share,
    )
    found.globals.update(
        ALERTS=ALERTS, AUTHORS=AUTHORS, MODES=MODES, STATES=STATES, MOST_CLASSES=MOST_CLASSES
    )
    return found


def _started(history: Sequence[Node]) -> float | None:
    return next((entry.moment("effective_at") for entry in history if entry.text("act") == "start"), None)


def _notable(classes: Sequence[Node]) -> list[Node]:
    """The rows that found a difference first, then those with the largest change; at most `MOST_CLASSES`."""
    order = sorted(classes, key=lambda row: (not row.flag("found"), -abs(row.number("estimate") or 0)))
    return order[:MOST_CLASSES]


def _share(part: float | None) -> str:
    """A whole number of 1/10 000, in percent."""
    return NONE if part is None else f"{setting(100 * part / _WHOLE)} %"
