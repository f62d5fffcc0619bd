"""What is measured: workloads, who takes part, how often and how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from loadtests.bench.archives import REAL
from loadtests.peers.catalogue import Variant
from loadtests.peers.nets import FUSED, PORTABLE, TRIVIAL

Name: TypeAlias = Literal["real-documented", "real-same", "trivial-jpeg", "trivial-tensor"]


class PlanError(ValueError):
    """An option names something that does not exist; the message says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Workloads for which the same servers run: with the same net and the same settings.

    Attributes:
        model: attnserve's name of the net.
        recipe: Whose module file the peers get; where the archive lacks it, the portable one.
        variant: Of the peers' settings.
        wished: Whether attnserve must serve that very recipe; else it takes the best it has.
    """

    model: str
    recipe: str
    variant: Variant
    wished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is asked.

    Attributes:
        name: For --workloads.
        title: For people.
        group: Who answers.
        tensor: Raw pixels, 150 KB; else JPEG of 500x375, about 55 KB.
        callers: Concurrent ones, each number a cell.
    """

    name: Name
    title: str
    group: Group
    tensor: bool
    callers: tuple[int, ...]

    @property
    def heavy(self) -> bool:
        """Whether an answer takes long enough to ask for longer windows."""
        return self.group.model == REAL


_DOCUMENTED: Final = Group(model=REAL, recipe=PORTABLE, variant="documented", wished=False)
_SAME: Final = Group(model=REAL, recipe=FUSED, variant="tuned", wished=True)
_TRIVIAL: Final = Group(model=TRIVIAL, recipe=PORTABLE, variant="tuned", wished=True)
WORKLOADS: Final[Mapping[Name, Workload]] = {
    workload.name: workload
    for workload in (
        Workload(
            name="real-documented",
            title=f"{REAL}, JPEG; peers as documented with the fp32 module",
            group=_DOCUMENTED,
            tensor=False,
            callers=(8, 32),
        ),
        Workload(
            name="real-same",
            title=f"{REAL}, JPEG; peers tuned, with the same module",
            group=_SAME,
            tensor=False,
            callers=(1, 8, 32),
        ),
        Workload(
            name="trivial-jpeg",
            title="trivial net, JPEG; peers tuned",
            group=_TRIVIAL,
            tensor=False,
            callers=(1, 8, 32),
        ),
        Workload(
            name="trivial-tensor",
            title="trivial net, raw tensor; peers tuned",
            group=_TRIVIAL,
            tensor=True,
            callers=(1, 8, 32),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: In each, every server is asked in turn for every cell.
        heavy_s: Length of a window on the real net.
        light_s: Length of a window on the trivial one.
        warm_s: Load before each window that does not count.
        idle_s: How long idle servers are watched.
        all_doors: Whether a server is asked in each of its protocols; else in the first.
        heavy_callers: Of the cells of the real net, those that are measured.
    """

    rounds: int = 5
    heavy_s: float = 12.0
    light_s: float = 5.0
    warm_s: float = 1.5
    idle_s: float = 5.0
    all_doors: bool = True
    heavy_callers: tuple[int, ...] = (1, 8, 32)

    def seconds(self, workload: Workload) -> float:
        """Length of a window."""
        return self.heavy_s if workload.heavy else self.light_s

    def callers(self, workload: Workload) -> tuple[int, ...]:
        """The cells of a workload."""
        if not workload.heavy:
            return workload.callers
        return tuple(callers for callers in workload.callers if callers in self.heavy_callers)


QUICK: Final = Plan(
    rounds=2, heavy_s=4.0, light_s=1.5, warm_s=0.5, idle_s=2.0, all_doors=False, heavy_callers=(1, 32)
)


def chosen(names: str | None) -> list[Workload]:
    """The workloads that a list with commas names; None: all.

    Raises:
        PlanError: A name is unknown.
    """
    if names is None:
        return list(WORKLOADS.values())
    known = {str(name): workload for name, workload in WORKLOADS.items()}
    return [known[name] for name in checked("--workloads", names, list(known))]


def checked(option: str, names: str, known: Sequence[str]) -> list[str]:
    """The names in a list with commas.

    Raises:
        PlanError: One is not known.
    """
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in known:
            raise PlanError(f"{option}: {name!r} must be one of {', '.join(known)}")
    return found


def groups(workloads: Sequence[Workload]) -> dict[Group, list[Workload]]:
    """The workloads by who answers, in their order."""
    found: dict[Group, list[Workload]] = {}
    for workload in workloads:
        found.setdefault(workload.group, []).append(workload)
    return found
