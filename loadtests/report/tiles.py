"""The top of the page: what came of the run in a word, and the four figures that most readers came for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.report.document import Figure, Report, Step
from loadtests.report.written import figure_of, load, one, span, value_of
from serve.reporting.figures import count
from serve.reporting.summary import Tile
from serve.reporting.words import Badge

_TAILS: Final = ("p99", "p95", "p90")  # the first that is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """The part of the run that the tiles speak of.

    Attributes:
        where: "at 120 a second", "all requests".
        figures: Of the response time there.
    """

    where: str
    figures: tuple[Figure, ...]


def badge(report: Report) -> Badge:
    """What came of a run: the first of `_BADGES` that holds."""
    return next(found for holds, found in _BADGES if holds(report))


def tiles(report: Report) -> Sequence[Tile]:
    """Load, median, 99th percentile and failures; where there are steps, at the highest that was carried."""
    if not report.rows:
        return ()
    found = focus(report)
    return (
        _load(report),
        _percentile(found, "p50"),
        _percentile(found, _tail(found)),
        _failures(report, found),
    )


def focus(report: Report) -> Focus:
    """The highest step that was carried, or all requests of a run without one."""
    step = carried(report)
    if step:
        return Focus(where=f"at {load(step.load, report.loop)}", figures=step.response)
    return Focus(where="all requests", figures=report.rows[0].response if report.rows else ())


def carried(report: Report) -> Step | None:
    """The step at the knee."""
    if report.knee is None or report.knee.load is None:
        return None
    kept = (step for step in report.steps if step.kept and step.load == report.knee.load)
    return next(kept, None)


def _load(report: Report) -> Tile:
    if report.knee is None:
        found = figure_of(report.rows[0].response, "throughput")
        return Tile(name="Good replies", value=one(found), meaning=_interval(found))
    broken = report.knee.broken
    return Tile(
        name="Load that was carried" if report.loop == "open" else "Knee",
        value="none" if report.knee.load is None else load(report.knee.load, report.loop),
        meaning="never broke here" if broken is None else f"broke at {load(broken, report.loop)}",
    )


def _tail(found: Focus) -> str:
    known = (name for name in _TAILS if not math.isnan(value_of(found.figures, name)))
    return next(known, _TAILS[0])


def _percentile(found: Focus, name: str) -> Tile:
    figure = figure_of(found.figures, name)
    known = figure is not None and figure.value is not None
    return Tile(
        name=f"{name} {found.where}",
        value=one(figure),
        meaning=_interval(figure) if known else "too few requests to say",
    )


def _failures(report: Report, found: Focus) -> Tile:
    whole = report.rows[0]
    return Tile(
        name=f"Failures {found.where}",
        value=one(figure_of(found.figures, "failures")),
        meaning=f"{count(whole.failures)} of all {count(whole.requests)} requests",
    )


def _interval(figure: Figure | None) -> str:
    interval = span(figure)
    return f"95 % interval: {interval}" if interval else ""


def _empty(report: Report) -> bool:
    return not report.rows or not report.rows[0].requests


def _never_carried(report: Report) -> bool:
    return report.knee is not None and report.knee.load is None


def _broken(report: Report) -> bool:
    """Only in an open loop: users who wait for their replies overload nothing."""
    return report.loop == "open" and report.knee is not None and report.knee.broken is not None


def _above(report: Report, name: str, promise: str) -> bool:
    found = figure_of(report.rows[0].response, name)
    most = report.slo.get(promise)
    return found is not None and found.value is not None and most is not None and found.value > most


def _unknown(report: Report) -> bool:
    found = figure_of(report.rows[0].response, "p99")
    return found is None or found.value is None


_BADGES: Final[tuple[tuple[Callable[[Report], bool], Badge], ...]] = (
    (
        _empty,
        Badge(text="Nothing measured", tone="open", sign="○", meaning="No request was sent."),
    ),
    (
        lambda report: bool(report.differences),
        Badge(
            text="Counts disagree",
            tone="bad",
            sign="✕",
            meaning="The gateway counted other requests than were sent; find out why before reading on.",
        ),
    ),
    (
        lambda report: any(found.verdict == "worse" for found in report.comparisons),
        Badge(
            text="Worse than the baseline",
            tone="bad",
            sign="▼",
            meaning="At least one figure is worse than before, beyond the tolerance and the noise.",
        ),
    ),
    (
        _never_carried,
        Badge(text="Never kept up", tone="bad", sign="▼", meaning="No load of this run was carried."),
    ),
    (
        _broken,
        Badge(
            text="Limit found", tone="even", sign="■", meaning="A load was carried, and a higher one was not."
        ),
    ),
    (
        lambda report: report.loop == "open" and report.knee is not None,
        Badge(text="No limit found", tone="good", sign="✓", meaning="Every load of this run was carried."),
    ),
    (
        lambda report: bool(report.stopped),
        Badge(text="Stopped early", tone="warn", sign="■", meaning="The run did not reach its end."),
    ),
    (
        lambda report: _above(report, "failures", "failures"),
        Badge(
            text="Too many failures", tone="bad", sign="✕", meaning="More requests failed than was promised."
        ),
    ),
    (
        lambda report: _above(report, "p99", "p99_ms"),
        Badge(
            text="Promise broken", tone="bad", sign="▼", meaning="Callers waited longer than was promised."
        ),
    ),
    (
        lambda report: any(not step.kept for step in report.steps),
        Badge(text="Promise broken", tone="bad", sign="▼", meaning="A part of the run was not carried."),
    ),
    (
        _unknown,
        Badge(
            text="Too few requests",
            tone="open",
            sign="○",
            meaning="There are too few to speak of the slowest 1 %.",
        ),
    ),
    (
        lambda _: True,
        Badge(text="Promise kept", tone="good", sign="✓", meaning="The replies were right, and in time."),
    ),
)
