"""From a report's parts to its drawings; None where there is nothing to draw yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from serve.reporting.confusion import MOST_CLASSES, SMALLEST_SHOWN, draw_confusion
from serve.reporting.latency import CurvePoint, Distribution, draw_latency
from serve.reporting.lift import Lift, Point, draw_lift
from serve.reporting.measure import Measure, measure
from serve.reporting.node import Node
from serve.reporting.timeline import Event, draw_timeline
from serve.reporting.words import MARKED

MOST_CHANGES = 12
MOST_EVENTS = 60
_FIGURES = ("estimate", "low", "high", "fixed_low", "fixed_high")
_QUANTILES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
_WHOLE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One cell of a confusion change."""

    true: str
    answer: str
    images: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Of one arm; no drawing where there are too many classes to read."""

    arm: str
    drawing: Markup | None
    largest: Sequence[Change]


def lifts(report: Node, looks: Sequence[Node], history: Sequence[Node]) -> list[Markup]:
    """One drawing for each compared arm of which an interval was ever known."""
    marks = [mark for entry in history if (mark := _mark(entry))]
    drawn = []
    for index, comparison in enumerate(report.nodes("comparisons"), 1):
        row = comparison.node("row")
        points = _points(comparison.text("arm"), looks, measure(row))
        latest = _point(report, row, measure(row))
        if latest and (not points or latest.at > points[-1].at):
            points.append(latest)
        if points:
            drawn.append(draw_lift(_lift(report, index, row, points, marks)))
    return drawn


def latency(report: Node) -> Markup | None:
    """The distributions of the arms that have answered calls."""
    marks: dict[str, list[tuple[float, float]]] = {}
    for row in report.nodes("rows"):
        at, share = row.number("estimate"), _QUANTILES.get(row.text("metric"))
        if row.text("kind") == "level" and share and at is not None:
            marks.setdefault(row.text("arm"), []).append((share, at))
    names = [arm.text("name") for arm in report.nodes("arms")]
    found: list[Distribution] = []
    for curve in report.nodes("latency_curves"):
        arm, points = curve.text("arm"), _curve(curve)
        if points:
            index = names.index(arm) if arm in names else len(found)
            found.append(Distribution(index=index, arm=arm, curve=points, quantiles=marks.get(arm, [])))
    return draw_latency(found) if found else None


def confusions(report: Node) -> list[Confusion]:
    """One for each compared arm."""
    return [_confusion(place, found) for place, found in enumerate(report.nodes("confusion_changes"))]


def timeline(history: Sequence[Node], until: float | None) -> Markup | None:
    """Of the versions that took effect, the latest `MOST_EVENTS` of them."""
    events = [event for entry in history if (event := _event(entry))]
    events = sorted(events, key=lambda event: event.at)[-MOST_EVENTS:]
    return draw_timeline(events, max(until or 0, events[-1].at)) if events else None


def _lift(
    report: Node, index: int, row: Node, points: Sequence[Point], marks: Sequence[tuple[float, str]]
) -> Lift:
    written, margin = measure(row), report.number("margin")
    return Lift(
        index=index,
        arm=row.text("arm"),
        control=row.text("against"),
        metric=row.text("title"),
        kind=row.text("kind"),
        points=points,
        margin=None if margin is None else margin * written.scale,
        unit=written.unit,
        marks=marks,
    )


def _points(arm: str, looks: Sequence[Node], written: Measure) -> list[Point]:
    found = [
        point
        for look in looks
        for seen in look.nodes("arms")
        if seen.text("arm") == arm and (point := _point(look, seen, written))
    ]
    return sorted(found, key=lambda point: point.at)


def _point(look: Node, seen: Node, written: Measure) -> Point | None:
    """What was seen of an arm at a look; None where no estimate or no interval was known."""
    at = look.moment("at")
    values = {key: seen.number(key) for key in _FIGURES}
    if at is None or None in {values["estimate"], values["low"], values["high"]}:
        return None
    return Point(
        at=at, **{key: math.nan if value is None else value * written.scale for key, value in values.items()}
    )


def _mark(entry: Node) -> tuple[float, str] | None:
    at, ramp = entry.moment("effective_at"), entry.number("ramp")
    text = MARKED.get(entry.text("act"))
    if at is None or text is None:
        return None
    return at, text.format(ramp=f"{100 * (ramp or 0) / _WHOLE:g}")


def _curve(curve: Node) -> list[CurvePoint]:
    found = []
    for point in curve.nodes("points"):
        ms, share = point.number("ms"), point.number("share")
        if ms is not None and ms > 0 and share is not None:
            low, high = point.number("low"), point.number("high")
            found.append(
                CurvePoint(
                    ms=ms,
                    share=share,
                    low=share if low is None else low,
                    high=share if high is None else high,
                )
            )
    return sorted(found, key=lambda point: point.ms)


def _confusion(place: int, found: Node) -> Confusion:
    labels = found.texts("labels")
    rows = [[math.nan if value is None else value for value in row] for row in _matrix(found, len(labels))]
    changes = [
        Change(true=true, answer=answer, images=value)
        for true, row in zip(labels, rows, strict=True)
        for answer, value in zip(labels, row, strict=True)
        if abs(value) >= SMALLEST_SHOWN
    ]
    drawable = bool(changes) and len(labels) <= MOST_CLASSES
    return Confusion(
        arm=found.text("arm"),
        drawing=draw_confusion(f"confusion{place}", found.text("arm"), labels, rows) if drawable else None,
        largest=sorted(changes, key=lambda change: -abs(change.images))[:MOST_CHANGES],
    )


def _matrix(found: Node, size: int) -> list[list[float | None]]:
    """The matrix, filled up with None to one row and column a label."""
    rows = [row.values() for row in found.nodes("change")][:size]
    rows += [[]] * (size - len(rows))
    return [(row + [None] * size)[:size] for row in rows]


def _event(entry: Node) -> Event | None:
    at, number = entry.moment("effective_at"), entry.number("number")
    if at is None or number is None:
        return None
    ramp = (entry.number("ramp") or 0) / _WHOLE
    return Event(number=int(number), at=at, act=entry.text("act"), state=entry.text("state"), ramp=ramp)
