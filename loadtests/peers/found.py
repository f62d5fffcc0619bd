"""What was measured, and the figures that follow: medians, ranges, ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loadtests.machine import Machine
from loadtests.peers.catalogue import ATTNSERVE, BARE
from loadtests.peers.generator import Run
from loadtests.peers.meter import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One window of load on one server.

    Attributes:
        workload: Its name.
        server: A peer's name, or attnserve's, or the bare loop's.
        door: The protocol.
        callers: Concurrent ones; 0 for the bare loop.
        round: From 0.
        run: As the callers saw it.
        server_cpu_s: Of all its processes in the window.
        others_cores: Cores that were busy with neither server nor generator.
    """

    workload: str
    server: str
    door: str
    callers: int
    round: int
    run: Run
    server_cpu_s: float
    others_cores: float

    @property
    def server_ms(self) -> float:
        """CPU milliseconds of the server for each request."""
        return 1e3 * self.server_cpu_s / self.run.requests

    @property
    def generator_ms(self) -> float:
        """CPU milliseconds of the generator for each request."""
        return 1e3 * self.run.cpu_s / self.run.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A server after its load: what it holds, and what it does when nobody asks.

    Attributes:
        workload: The last one of its group.
        server: Its name.
        memory: Of all its processes.
        idle_cores: Kept busy by them.
    """

    workload: str
    server: str
    memory: Memory
    idle_cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server served in a group, and how, for the record.

    Attributes:
        workloads: Names.
        server: Its name.
        recipe: The module.
        settings: Its own.
        versions: What is installed in its environment.
    """

    workloads: tuple[str, ...]
    server: str
    recipe: str
    settings: Mapping[str, Any]
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A server that cannot be compared in a workload, and why."""

    workload: str
    server: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured."""

    machine: Machine
    turns: tuple[Turn, ...]
    standings: tuple[Standing, ...]
    left_out: tuple[LeftOut, ...]
    served: tuple[Served, ...] = field(default=())


Figure: TypeAlias = Callable[[Turn], float]
FIGURES: dict[str, Figure] = {
    "rate": lambda turn: turn.run.rate,
    "p50": lambda turn: turn.run.p50_ms,
    "p99": lambda turn: turn.run.p99_ms,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A workload with a number of callers."""

    workload: str
    callers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A figure of attnserve over a peer's in the same round: above 1 is better, whatever the figure.

    Attributes:
        cell: Where.
        server: The peer.
        rounds: One ratio each.
    """

    cell: Cell
    server: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.rounds)

    @property
    def behind(self) -> bool:
        """Whether attnserve was behind in every round: what the noise does not explain."""
        return max(self.rounds) < 1


def cells(found: Found) -> list[Cell]:
    """All that were measured, in their order."""
    seen = {Cell(workload=turn.workload, callers=turn.callers): None for turn in found.turns if turn.callers}
    return list(seen)


def at(found: Found, cell: Cell, server: str) -> list[Turn]:
    """The turns of a server in a cell, through its better door; by round."""
    turns = [
        turn
        for turn in found.turns
        if (turn.workload, turn.callers, turn.server) == (cell.workload, cell.callers, server)
    ]
    doors = {turn.door: None for turn in turns}
    if not doors:
        return []
    best = max(doors, key=lambda door: statistics.median(t.run.rate for t in turns if t.door == door))
    return sorted((turn for turn in turns if turn.door == best), key=lambda turn: turn.round)


def servers(found: Found, cell: Cell) -> list[str]:
    """Who took part in a cell, the bare loop apart."""
    names = {turn.server: None for turn in found.turns if turn.workload == cell.workload}
    return [name for name in names if name != BARE and at(found, cell, name)]


def ratio(found: Found, cell: Cell, server: str, figure: str = "rate") -> Ratio | None:
    """Attnserve against a peer; None where one of them is missing."""
    ours, theirs = at(found, cell, ATTNSERVE), at(found, cell, server)
    value = FIGURES[figure]
    by_round = {turn.round: turn for turn in theirs}
    pairs = [(value(turn), value(by_round[turn.round])) for turn in ours if turn.round in by_round]
    if not pairs:
        return None
    found_ratios = [mine / other if figure == "rate" else other / mine for mine, other in pairs]
    return Ratio(cell=cell, server=server, rounds=tuple(found_ratios))


def ratios(found: Found, cell: Cell, figure: str = "rate") -> list[Ratio]:
    """Attnserve against every peer in a cell, the hardest peer first."""
    names = [name for name in servers(found, cell) if name != ATTNSERVE]
    every = (ratio(found, cell, name, figure) for name in names)
    return sorted((one for one in every if one is not None), key=lambda one: one.median)


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median and largest."""
    return min(values), statistics.median(values), max(values)
