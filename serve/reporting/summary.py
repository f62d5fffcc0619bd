"""The top of the page: the verdict, the rule that it follows, and the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve.reporting.figures import NONE, count, evidence, setting
from serve.reporting.measure import measure
from serve.reporting.node import Node
from serve.reporting.words import METRICS, NO_VERDICT, VERDICTS, Badge

_DAY, _HOUR = 86_400.0, 3_600.0
# Metrics whose margin is one of percentage points; of the others it is a share.
_IN_POINTS = frozenset({"accuracy", "error_rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure with its name above and what it means below."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One compared arm."""

    arm: str
    badge: Badge
    sentence: str
    estimate: str
    interval: str
    e: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a reader in a hurry sees; `standings` are given where several arms are compared."""

    badge: Badge
    sentence: str
    rule: str
    tiles: Sequence[Tile]
    standings: Sequence[Standing]


def summary(report: Node, started_at: float | None) -> Summary:
    """Of a report; `started_at` is the Unix time of the start, None before it."""
    comparisons = report.nodes("comparisons")
    badge = badge_of(report)
    return Summary(
        badge=badge,
        sentence=report.text("sentence") or badge.meaning,
        rule=_rule(report, len(comparisons)),
        tiles=_tiles(report, comparisons, started_at),
        standings=[_standing(found) for found in comparisons] if len(comparisons) > 1 else [],
    )


def badge_of(judged: Node) -> Badge:
    """Of a report or of one of its comparisons."""
    return VERDICTS.get(judged.text("verdict"), NO_VERDICT)


def needed_e(report: Node) -> float | None:
    """The e-value at which a difference is decided: alpha is shared among the compared arms."""
    alpha = report.number("alpha")
    return max(1, len(report.nodes("comparisons"))) / alpha if alpha else None


def _rule(report: Node, compared: int) -> str:
    alpha, margin, needed = report.number("alpha"), report.number("margin"), needed_e(report)
    if alpha is None or margin is None or needed is None:
        return ""
    metric = METRICS.get(report.text("primary_metric"), report.text("primary_metric"))
    shared = f", shared by {compared} arms" if compared > 1 else ""
    return (
        f"Decision rule, fixed before the start: {metric} decides. Better or worse once the e-value reaches "
        f"{setting(needed)} (a false verdict in at most {setting(100 * alpha)} % of experiments{shared}). No "
        f"difference once the whole interval lies within ±{_margin(report, margin)}."
    )


def _margin(report: Node, margin: float) -> str:
    points = report.text("primary_metric") in _IN_POINTS
    return f"{setting(100 * margin)} {'points' if points else '%'}"


def _tiles(report: Node, comparisons: Sequence[Node], started_at: float | None) -> list[Tile]:
    tiles = []
    if len(comparisons) == 1:
        row = comparisons[0].node("row")
        written, needed = measure(row), needed_e(report)
        sure = setting(100 - 100 * (row.number("alpha") or 0))
        tiles = [
            Tile(
                name=f"{row.text('title') or 'Difference'}: {_pairing(row)}",
                value=written.one(row.number("estimate")),
                meaning=f"{sure} % interval: {written.span(row.number('low'), row.number('high'))}",
            ),
            Tile(
                name="Evidence (e-value)",
                value=evidence(row.number("log_e")),
                meaning=f"{setting(needed)} decides",
            ),
        ]
    planned = report.number("planned_units")
    if comparisons and planned:
        units = max(found.number("units") or 0 for found in comparisons)
        tiles.append(
            Tile(name="Units that took part", value=count(units), meaning=f"{count(planned)} planned")
        )
    at = report.number("at")
    if started_at is not None and at is not None:
        state = report.text("state").replace("_", " ")
        tiles.append(Tile(name="Since the start", value=_lasting(at - started_at), meaning=f"now {state}"))
    return tiles


def _standing(comparison: Node) -> Standing:
    row = comparison.node("row")
    written = measure(row)
    return Standing(
        arm=comparison.text("arm"),
        badge=badge_of(comparison),
        sentence=comparison.text("sentence"),
        estimate=written.one(row.number("estimate")),
        interval=written.span(row.number("low"), row.number("high")),
        e=evidence(row.number("log_e")),
    )


def _pairing(row: Node) -> str:
    joint = "and" if row.text("kind") == "share" else "against"
    return f"{row.text('arm')} {joint} {row.text('against')}" if row.text("against") else row.text("arm")


def _lasting(seconds: float) -> str:
    if seconds < 0:
        return NONE
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} hours"
    return f"{seconds / _DAY:.1f} days"
