"""The goals of serving beside their figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.peers.catalogue import ATTNSERVE, BARE, TORCHSERVE, title
from loadtests.peers.found import Cell, Found, Ratio, at, cells, middle, ratio, ratios

BARE_SHARE: Final = 0.95
DOCUMENTED_RATIO: Final = 2.5
TRIVIAL_RATIO: Final = 1.4
LONE_MS: Final = 5.0
MEMORY_MB: Final = 250.0
IDLE_CORES: Final = 0.01
SATURATED: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure, what it shall be, and whether it is.

    Attributes:
        what: In words.
        rounds: Its values; the median is shown between the least and the largest.
        goal: In words.
        reached: As the goal says.
    """

    what: str
    rounds: tuple[float, ...]
    goal: str
    reached: bool


def goals(found: Found) -> list[Goal]:
    """Those of which the figures were measured."""
    return [
        *_bare(found),
        *_least(found, "real-documented", SATURATED, DOCUMENTED_RATIO),
        *_never_behind(found),
        *_not_behind(found, "trivial-jpeg", 8),
        *_least(found, "trivial-jpeg", SATURATED, TRIVIAL_RATIO),
        *_lone(found),
        *_not_behind(found, "trivial-tensor", SATURATED, TORCHSERVE),
        *_standing(found),
    ]


def _bare(found: Found) -> Iterator[Goal]:
    bare = {turn.round: turn.run.rate for turn in found.turns if turn.server == BARE}
    cell = Cell(workload="real-same", callers=SATURATED)
    shares = [turn.run.rate / bare[turn.round] for turn in at(found, cell, ATTNSERVE) if turn.round in bare]
    if shares:
        yield Goal(
            what=f"{_named(cell)}: rate over a bare loop's",
            rounds=tuple(shares),
            goal=f"at least {BARE_SHARE:g}",
            reached=middle(shares)[1] >= BARE_SHARE,
        )


def _least(found: Found, workload: str, callers: int, least: float) -> Iterator[Goal]:
    """At least so many times the best peer."""
    cell = Cell(workload=workload, callers=callers)
    for hardest in ratios(found, cell)[:1]:
        yield Goal(
            what=f"{_named(cell)}: rate over the best peer's, {title(hardest.server)}",
            rounds=hardest.rounds,
            goal=f"at least {least:g}",
            reached=hardest.median >= least,
        )


def _not_behind(found: Found, workload: str, callers: int, server: str | None = None) -> Iterator[Goal]:
    """Not behind a peer, or the best, in every round."""
    cell = Cell(workload=workload, callers=callers)
    hardest = ratios(found, cell)[:1] if server is None else [ratio(found, cell, server)]
    yield from (_beyond_noise(one, "rate") for one in hardest if one is not None)


def _never_behind(found: Found) -> Iterator[Goal]:
    """On the same module: against the hardest peer, in each cell, in throughput and in p99."""
    for cell in (cell for cell in cells(found) if cell.workload == "real-same"):
        for figure in ("rate", "p99"):
            yield from (_beyond_noise(one, figure) for one in ratios(found, cell, figure)[:1])


def _beyond_noise(one: Ratio, figure: str) -> Goal:
    said = {"rate": "rate over the best peer's", "p99": "the best peer's p99 over ours"}[figure]
    return Goal(
        what=f"{_named(one.cell)}: {said}, {title(one.server)}",
        rounds=one.rounds,
        goal="not under 1 in every round",
        reached=not one.behind,
    )


def _lone(found: Found) -> Iterator[Goal]:
    cell = Cell(workload="trivial-jpeg", callers=1)
    waits = [turn.run.p50_ms for turn in at(found, cell, ATTNSERVE)]
    if waits:
        yield Goal(
            what=f"{_named(cell)}: p50, ms",
            rounds=tuple(waits),
            goal=f"at most {LONE_MS:g}",
            reached=middle(waits)[1] <= LONE_MS,
        )


def _standing(found: Found) -> Iterator[Goal]:
    held = {(one.workload, one.server): one for one in found.standings}
    for (workload, server), ours in held.items():
        if server != ATTNSERVE:
            continue
        if (theirs := held.get((workload, TORCHSERVE))) is not None:
            more = (ours.memory.pss - theirs.memory.pss) / 1e6
            yield _single(f"{workload}: memory above TorchServe's, MB", more, MEMORY_MB)
        yield _single(f"{workload}: idle, cores", ours.idle_cores, IDLE_CORES)


def _single(what: str, value: float, most: float) -> Goal:
    return Goal(what=what, rounds=(value,), goal=f"under {most:g}", reached=value < most)


def _named(cell: Cell) -> str:
    return f"{cell.workload}, {cell.callers} caller{'s' if cell.callers > 1 else ''}"


def all_reached(found: Sequence[Goal]) -> bool:
    """Whether none is missed."""
    return all(goal.reached for goal in found)
