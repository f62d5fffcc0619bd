"""The ledger's sums under the names that the statistics know them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from serve.core.evidence import ArmEvidence, Evidence
from serve.core.experiment import ENDED, Design, Experiment, Mode
from serve.core.statistics import quantile
from serve.core.statistics.paired import PairCounts, PairSums
from serve.core.statistics.units import UnitSums
from serve.core.tally import FIRST


def slow_sum(threshold_ms: float) -> str:
    """The name of the sum that counts calls that took longer."""
    return f"slow:{threshold_ms:g}"


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What one arm did, in one phase or in all of them."""

    evidence: ArmEvidence

    def count(self, name: str) -> int:
        """A sum that counts something."""
        return int(self.evidence.sums.get(name, 0))

    def units(self, observations: str, total: str) -> UnitSums:
        """The sums over units of one family of `serve.core.tally`."""
        return UnitSums(
            units=self.count(f"{observations}.units"),
            n=self.count(observations),
            x=self.count(total),
            nn=self.count(f"{observations}*{observations}"),
            nx=self.count(f"{observations}*{total}"),
            xx=self.count(f"{total}*{total}"),
        )

    @property
    def first_pairs(self) -> PairCounts:
        """The first pair of each unit."""
        return PairCounts(**{name: self.count(f"first:{name}") for name in FIRST})

    @property
    def all_pairs(self) -> PairSums:
        """All pairs, by unit."""
        return PairSums(
            units=self.count("pairs.units"),
            pairs=self.count("pairs"),
            differ=self.count("differ"),
            labelled=self.count("differ_labelled"),
            signed=self.count("signed"),
            pp=self.count("pairs*pairs"),
            pd=self.count("pairs*differ"),
            pl=self.count("pairs*differ_labelled"),
            ps=self.count("pairs*signed"),
            dd=self.count("differ*differ"),
            dl=self.count("differ*differ_labelled"),
            ds=self.count("differ*signed"),
            ll=self.count("differ_labelled*differ_labelled"),
            ls=self.count("differ_labelled*signed"),
            ss=self.count("signed*signed"),
        )

    @cached_property
    def histogram(self) -> quantile.Histogram:
        """Of the latencies of its answered calls."""
        return quantile.from_counts(self.evidence.latency)

    @cached_property
    def thinned(self) -> quantile.Histogram:
        """The same, as so many independent calls would have shown it."""
        return quantile.thinned(self.histogram, self.independent)

    @property
    def independent(self) -> float:
        """The share of its calls that count as independent: all where every unit called once.

        Calls of one unit may be quite alike, so that only units are independent. If they were wholly alike, a
        rate over n_u calls of each unit would vary as one over (sum n_u)^2 / sum n_u^2 calls (Kish 1965).
        """
        squares = self.count("calls*calls")
        return min(1.0, self.count("calls") / squares) if squares else 1.0

    def named(self, prefix: str) -> Iterator[tuple[list[str], int]]:
        """The sums whose names begin so: the rest of the name, divided at its colons, and the count."""
        start = f"{prefix}:"
        for name, value in self.evidence.sums.items():
            if name.startswith(start):
                yield name[len(start) :].split(":"), int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """One phase: its weights, one an arm, and what the arms did."""

    weights: tuple[int, ...]
    arms: tuple[Sums, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An experiment and its sums.

    Attributes:
        experiment: The version in force.
        strata: The phases.
        arms: The sums of all phases together, one an arm.
        alpha: Of each arm's comparison with the control: the design's, divided among them.
        minutes: From the start to the report, or to the end; None where that is not known.
    """

    experiment: Experiment
    strata: tuple[Stratum, ...]
    arms: tuple[Sums, ...]
    alpha: float
    minutes: float | None

    @property
    def design(self) -> Design:
        """What the person wrote."""
        return self.experiment.design

    @property
    def paired(self) -> bool:
        """Whether arms see the same images."""
        return self.design.mode is not Mode.SPLIT

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arms."""
        return tuple(arm.name for arm in self.design.arms)

    @property
    def compared(self) -> range:
        """The arms that are compared with the control."""
        return range(1, len(self.arms))

    def planned(self, arms: int) -> float:
        """Units that so many of the arms are planned to see, those that several see counted for each."""
        return self.design.planned_units * arms / (1 if self.paired else len(self.arms))

    def label(self, index: int) -> str:
        """The class with that index."""
        labels = self.experiment.labels
        return labels[index] if index < len(labels) else str(index)


def study(experiment: Experiment, evidence: Evidence, at: float) -> Study:
    """Arrange what the ledger gave; Unix time `at` is that of the report."""
    arms = len(experiment.design.arms)
    strata = tuple(
        Stratum(weights=phase.weights, arms=tuple(Sums(evidence=arm) for arm in phase.arms))
        for phase in evidence.phases
    )
    together = [_together(phase.arms[index] for phase in evidence.phases) for index in range(arms)]
    ended = experiment.effective_at if experiment.state in ENDED else at
    since = evidence.since
    return Study(
        experiment=experiment,
        strata=strata,
        arms=tuple(Sums(evidence=arm) for arm in together),
        alpha=experiment.design.alpha / (arms - 1),
        minutes=(min(at, ended) - since) / 60 if since is not None and min(at, ended) > since else None,
    )


def _together(parts: Iterable[ArmEvidence]) -> ArmEvidence:
    sums: dict[str, float] = {}
    latency: Counter[int] = Counter()
    for part in parts:
        for name, value in part.sums.items():
            sums[name] = sums.get(name, 0) + value
        latency.update(part.latency)
    return ArmEvidence(sums=sums, latency=latency)
