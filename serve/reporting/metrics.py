"""The table of metrics: a group a metric, which begins with its definition, and a line an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve.reporting.figures import count, evidence, probability
from serve.reporting.measure import measure
from serve.reporting.node import Node

_NAMED = {
    "difference": "{arm} − {against}",
    "ratio": "{arm} ÷ {against} − 1",
    "share": "{arm} and {against}",
}
_WISHES = {"higher": "Higher is better.", "lower": "Lower is better."}
_HALF = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyph:
    """A small picture of an interval; zero is in the middle, places are from 0 to 120."""

    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the report, written out; `method` is its number in the list of methods."""

    name: str
    estimate: str
    interval: str
    glyph: Glyph | None
    e: str
    p: str
    n: str
    method: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All lines of one metric."""

    title: str
    definition: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Groups in the report's order, and the methods that their lines name by number."""

    groups: Sequence[Group]
    methods: Sequence[tuple[str, str]]


def metrics_table(rows: Sequence[Node]) -> Table:
    """Write out the rows of a report."""
    methods: dict[tuple[str, str], int] = {}
    groups: dict[str, list[Node]] = {}
    for row in rows:
        groups.setdefault(row.text("metric") or row.text("title"), []).append(row)
        found = (row.text("method"), row.text("why"))
        if _inferred(row):
            methods.setdefault(found, len(methods) + 1)
    return Table(groups=[_group(found, methods) for found in groups.values()], methods=list(methods))


def glyph(row: Node) -> Glyph | None:
    """Of a comparison whose interval is known on both sides."""
    low, point, high = (row.number(key) for key in ("low", "estimate", "high"))
    if low is None or point is None or high is None or row.text("kind") not in {"difference", "ratio"}:
        return None
    most = max(abs(low), abs(high), abs(point)) or 1.0
    return Glyph(
        **{
            key: round(_HALF + 0.92 * _HALF * value / most, 1)
            for key, value in (("low", low), ("point", point), ("high", high))
        }
    )


def _inferred(row: Node) -> bool:
    return bool(row.text("method")) and row.flag("anytime") is not False


def _group(rows: Sequence[Node], methods: dict[tuple[str, str], int]) -> Group:
    wish = _WISHES.get(rows[0].text("better"), "")
    return Group(
        title=rows[0].text("title") or rows[0].text("metric"),
        definition=f"{rows[0].text('definition')} {wish}".strip(),
        lines=[_line(row, methods) for row in rows],
    )


def _line(row: Node, methods: dict[tuple[str, str], int]) -> Line:
    written = measure(row)
    name = _NAMED.get(row.text("kind"), "{arm}").format(arm=row.text("arm"), against=row.text("against"))
    observed = row.number("n")
    # Nobody doubts that an arm's own figure differs from 0.
    level = row.text("kind") == "level"
    return Line(
        name=name,
        estimate=written.one(row.number("estimate")),
        interval=written.span(row.number("low"), row.number("high")) if _inferred(row) else "",
        glyph=glyph(row),
        e="" if level else evidence(row.number("log_e")),
        p="" if level else probability(row.number("p")),
        n="" if observed is None or not _inferred(row) else f"{count(observed)} {row.text('n_of')}".strip(),
        method=methods.get((row.text("method"), row.text("why"))),
        note=row.text("note"),
    )
