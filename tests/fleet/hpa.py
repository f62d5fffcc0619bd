"""What a HorizontalPodAutoscaler (autoscaling/v2) decides, without a cluster.

The rules are those of the Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details, scaling
policies, stabilization window), and of the controller itself: pkg/controller/podautoscaler/
replica_calculator.go for what one metric asks for, horizontal.go for what becomes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fleet.hpa_object import ROUNDING, Rules, Spec, Tolerance

_PERCENT = 100


def average_value(total: float, target: float, current: int, tolerance: Tolerance) -> int:
    """Replicas that an external metric of the type AverageValue asks for.

    Args:
        total: The metric, all its series together.
        target: What each pod should have of it.
        current: Replicas that there are.
        tolerance: Of the ratio.
    """
    if current and tolerance.holds(total / (target * current)):
        return current
    return _ceil(total / target)


def value(total: float, target: float, current: int, ready: int, tolerance: Tolerance) -> int:
    """Replicas that an external metric of the type Value asks for: it is compared as it is.

    Args:
        total: The metric.
        target: What it should be.
        current: Replicas that there are.
        ready: Of those, the ready ones; only they do something about the metric.
        tolerance: Of the ratio.
    """
    ratio = total / target
    if not current:
        return _ceil(ratio)
    return current if tolerance.holds(ratio) else _ceil(ratio * ready)


def pods(
    metric: Mapping[str, float],
    target: float,
    names: Collection[str],
    pending: Collection[str],
    tolerance: Tolerance,
) -> int | None:
    """Replicas that a metric of the pods themselves asks for; None: no ready pod has any.

    A pod without the metric counts as one that is just right when that keeps the number from falling, and as
    idle when it would rise; a pending one, which is on its way to help, counts as idle when it would rise.

    Args:
        metric: Its value by pod.
        target: What each pod should have of it.
        names: Of all pods, the pending ones too.
        pending: Of those, the ones that do not run yet.
        tolerance: Of the ratio.
    """
    known = {name: metric[name] for name in names if name in metric and name not in pending}
    missing = [name for name in names if name not in metric and name not in pending]
    if not known:
        return None
    ratio = _ratio(known.values(), target)
    if not missing and not (pending and ratio > 1):
        return len(names) if tolerance.holds(ratio) else _ceil(ratio * len(known))
    counted = known | dict.fromkeys(missing, target if ratio < 1 else 0.0)
    if ratio > 1:
        counted |= dict.fromkeys(pending, 0.0)
    again = _ratio(counted.values(), target)
    if tolerance.holds(again) or (ratio < 1) != (again < 1):
        return len(names)
    return _ceil(again * len(counted))


def most(proposals: Sequence[int | None], current: int) -> int | None:
    """What several metrics ask for together; None: nothing that can be trusted, so that all stays.

    Args:
        proposals: By metric; None: it cannot be read. Then the others may add pods, but take none away.
        current: Replicas that there are.
    """
    known = [one for one in proposals if one is not None]
    if not known or (len(known) < len(proposals) and max(known) < current):
        return None
    return max(known)


@dataclass(frozen=True, slots=True)
class _Past:
    """Something at a moment: a recommendation, or how many pods came or went."""

    at: float
    pods: int


@dataclass(slots=True)
class Autoscaler:
    """One HorizontalPodAutoscaler and what it remembers; times are in seconds, on any clock.

    Attributes:
        spec: The object.
    """

    spec: Spec
    _recommended: list[_Past] = field(default_factory=list)
    _added: list[_Past] = field(default_factory=list)
    _removed: list[_Past] = field(default_factory=list)

    def decide(self, now: float, current: int, proposals: Sequence[int | None]) -> int:
        """How many replicas there are to be.

        Args:
            now: The time of this look, never before that of the last one.
            current: Replicas that there are; 0 switches the autoscaler off.
            proposals: What each metric asks for, None where it cannot be read.
        """
        if not current:
            return 0
        if not self._recommended:  # so that the first low reading does not take pods away
            self._recommended.append(_Past(now, current))
        decided = self._decided(now, current, most(proposals, current))
        if decided > current:
            self._added.append(_Past(now, decided - current))
        elif decided < current:
            self._removed.append(_Past(now, current - decided))
        return decided

    def _decided(self, now: float, current: int, proposal: int | None) -> int:
        least, highest = self.spec.min_replicas, self.spec.max_replicas
        if not least <= current <= highest:
            return max(least, min(highest, current))
        if proposal is None:
            return current
        stable = self._stabilised(now, current, proposal)
        if stable > current:
            return min(stable, highest, max(current, self._ceiling(now, current)))
        if stable < current:
            return max(stable, least, min(current, self._floor(now, current)))
        return current

    def _stabilised(self, now: float, current: int, proposal: int) -> int:
        """The least of what was lately asked for when pods are to come, the most when they are to go."""
        behaviour = self.spec.behaviour
        up = min([proposal, *_since(self._recommended, now - behaviour.up.window_s)])
        down = max([proposal, *_since(self._recommended, now - behaviour.down.window_s)])
        self._recommended.append(_Past(now, proposal))
        return min(max(current, up), down)

    def _ceiling(self, now: float, current: int) -> int:
        """How many the policies allow at most."""

        def allowed(before: int, value: int, *, percent: bool) -> int:
            return _ceil(before * (_PERCENT + value) / _PERCENT) if percent else before + value

        rules = self.spec.behaviour.up
        limits = self._limits(rules, now, current, allowed)
        return _selected(rules, limits, current, max, min)

    def _floor(self, now: float, current: int) -> int:
        """How many the policies leave at least."""

        def left(before: int, value: int, *, percent: bool) -> int:
            return before * (_PERCENT - value) // _PERCENT if percent else before - value

        rules = self.spec.behaviour.down
        limits = self._limits(rules, now, current, left)
        return _selected(rules, limits, current, min, max)

    def _limits(self, rules: Rules, now: float, current: int, limit: Callable[..., int]) -> list[int]:
        """What each policy sets, counted from the replicas at the beginning of its period."""
        befores = (
            current - sum(_since(self._added, start)) + sum(_since(self._removed, start))
            for start in (now - policy.period_s for policy in rules.policies)
        )
        return [
            limit(before, policy.value, percent=policy.kind == "Percent")
            for before, policy in zip(befores, rules.policies, strict=True)
        ]


def _selected(
    rules: Rules,
    limits: Sequence[int],
    current: int,
    freest: Callable[[Sequence[int]], int],
    strictest: Callable[[Sequence[int]], int],
) -> int:
    if rules.select == "Disabled":
        return current
    return (strictest if rules.select == "Min" else freest)(limits)


def _since(past: Sequence[_Past], start: float) -> list[int]:
    return [one.pods for one in past if one.at > start]


def _ceil(number: float) -> int:
    """The next integer; what binary fractions add to one is no reason for another pod."""
    return math.ceil(number - ROUNDING)


def _ratio(values: Collection[float], target: float) -> float:
    return sum(values) / len(values) / target
