"""A scenario with its figures, if what was asked for fits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.arrivals import trace
from loadtests.outcome import CLOSED, OPEN, Phase, Slo
from loadtests.running.scenarios import BURST, SCENARIOS, Scenario
from loadtests.running.wish import Wish
from loadtests.shapes import Segment, Shape
from loadtests.traffic.questions import KINDS

_OPTIONS_OF_LOAD: Final = ("rate", "users", "seconds", "shape", "trace", "slots", "target_rate")
_DIGITS: Final = 4  # significant ones of a rate, so that a shape can be read


class ScenarioError(ValueError):
    """What was asked for does not fit together; the message names the option and what fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario with its figures.

    Attributes:
        scenario: Which.
        shape: Its load; of a replay a line at the trace's mean rate.
        slo: What callers were promised.
        arrivals: Of a replay: how many.
    """

    scenario: Scenario
    shape: Shape
    slo: Slo
    arrivals: int = 0

    @property
    def users(self) -> int:
        """Most users of a closed loop."""
        return max(1, round(self.shape.highest))

    def phases(self, began: float, ended: float) -> tuple[Phase, ...]:
        """The stretches of a run that it reached; both are Unix time."""
        names = Counter(map(self._named, self.shape.segments))
        return tuple(
            Phase(
                name=self._told_apart(segment, begin, names),
                begins=began + begin,
                ends=min(ended, began + begin + segment.seconds),
                load=(segment.first + segment.last) / 2,
            )
            for begin, segment in zip(self.shape.begins, self.shape.segments, strict=True)
            if began + begin < ended
        )

    def _told_apart(self, segment: Segment, begin: float, names: Mapping[str, int]) -> str:
        """Its name; of those that are alike, such as before and after a spike, with its begin."""
        name = self._named(segment)
        return name if names[name] == 1 else f"{name} from {begin:g} s on"

    def _named(self, segment: Segment) -> str:
        unit = "a second" if self.scenario.loop == OPEN else "users"
        if self.arrivals:
            return f"trace of {self.arrivals} requests"
        if segment.first == segment.last:
            return "1 user" if unit == "users" and segment.first == 1 else f"{segment.first:g} {unit}"
        return f"ramp from {segment.first:g} to {segment.last:g} {unit}"


def scenario_of(wish: Wish) -> Scenario:
    """The scenario that was asked for, if every option fits it.

    Raises:
        ScenarioError: There is none of that name, an option does not fit it, or one that it needs is missing.
    """
    scenario = SCENARIOS.get(wish.scenario)
    if scenario is None:
        raise ScenarioError(f"SCENARIO: {wish.scenario!r} is none; there are {', '.join(SCENARIOS)}")
    given = [name for name in _OPTIONS_OF_LOAD if getattr(wish, name) is not None]
    for name in given:
        if name not in scenario.takes:
            raise ScenarioError(
                f"{_listed([name])}: does not fit the scenario {scenario.name!r};"
                f" what fits is {_listed(scenario.takes)}"
            )
    _check_shape(scenario, given)
    _check_workers(scenario, wish)
    _check_tags(wish)
    if scenario.one_model and len(split(wish.models)) > 1:
        raise ScenarioError(
            f"--models: is {wish.models!r}; the scenario {scenario.name!r} is about one model"
        )
    return scenario


def _check_shape(scenario: Scenario, given: list[str]) -> None:
    if "trace" in scenario.takes and "trace" not in given:
        raise ScenarioError(f"--trace: the scenario {scenario.name!r} needs a file of arrivals")
    beside = [name for name in ("rate", "users", "seconds") if name in given]
    if "shape" in given and beside:
        raise ScenarioError(f"{_listed(beside)}: does not fit --shape, which says all of the load itself")


def _check_workers(scenario: Scenario, wish: Wish) -> None:
    if wish.remote_workers and not wish.workers:
        raise ScenarioError("--remote-workers: needs --workers, for how many to wait")
    if wish.remote_workers and needs_measurement(scenario, wish):
        raise ScenarioError(
            "--remote-workers: needs --rate or --shape: measuring it takes a run of its own, and workers"
            " from elsewhere stay for one"
        )


def _check_tags(wish: Wish) -> None:
    known = dict.fromkeys(kind.tag for kind in KINDS.values())
    for option, text in (("--tags", wish.tags), ("--exclude-tags", wish.exclude_tags)):
        for tag in split(text):
            if tag not in known:
                raise ScenarioError(f"{option}: {tag!r} is none; there are {', '.join(known)}")
    if not set(split(wish.tags) or known) - set(split(wish.exclude_tags)):
        raise ScenarioError(f"--exclude-tags: {wish.exclude_tags!r} leaves nothing to ask")


def split(text: str) -> tuple[str, ...]:
    """What a list by comma names."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def needs_measurement(scenario: Scenario, wish: Wish) -> bool:
    """Whether the gateway's throughput has to be known before there can be a plan."""
    return "rate" in scenario.takes and wish.rate is None and wish.shape is None


def plan_of(wish: Wish, measured: float | None = None) -> Plan:
    """Put figures to a scenario.

    Args:
        wish: What was asked for.
        measured: Requests a second that a burst reached; for a scenario that `needs_measurement`.

    Raises:
        ScenarioError: As `scenario_of`.
        TraceError: The trace is none.
        ShapeError: The shape is none.
    """
    scenario = scenario_of(wish)
    slo = Slo(p99_ms=wish.slo_ms, failures=wish.slo_failures, for_s=wish.slo_for or scenario.for_s)
    if wish.trace is not None:
        times = trace(wish.trace)
        seconds = max(times[-1], 1.0)
        rate = _rounded(len(times) / seconds)
        line = Shape((Segment(seconds=seconds, first=rate, last=rate),))
        return Plan(scenario=scenario, shape=line, slo=slo, arrivals=len(times))
    if wish.shape is not None:
        return Plan(scenario=scenario, shape=Shape.parse(wish.shape), slo=slo)
    level = scenario.level if scenario.loop == CLOSED else scenario.level * (measured or 0.0)
    shape = scenario.profile(wish.rate or wish.users or level)
    return Plan(scenario=scenario, shape=_stretched(shape, wish.seconds or scenario.seconds), slo=slo)


def burst_of(wish: Wish) -> Plan:
    """What is measured first where no rate is given."""
    shape = _stretched(BURST.profile(BURST.level), BURST.seconds)
    return Plan(scenario=BURST, shape=shape, slo=Slo(p99_ms=wish.slo_ms))


def _stretched(shape: Shape, seconds: float) -> Shape:
    factor = seconds / shape.seconds
    return Shape(
        tuple(
            Segment(
                seconds=_rounded(factor * one.seconds), first=_rounded(one.first), last=_rounded(one.last)
            )
            for one in shape.segments
        )
    )


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _listed(options: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in options)
