"""Where the service stops keeping up, read off its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scipy.stats import norm

from loadtests.report.document import Figure, Knee, Step
from loadtests.report.written import load

_Z: Final = float(norm.ppf(0.975))


def knee(steps: Sequence[Step], loop: str) -> Knee | None:
    """The knee of steps of which each has a higher load than the one before; None of any others.

    An open loop has its knee where a load was carried and the next was not. A closed loop cannot be
    overloaded, since its users wait: more of them only wait longer. Its knee is where throughput over
    response time, Kleinrock's power, is highest (Kleinrock 1979, Power and deterministic rules of thumb for
    probabilistic problems in computer communications, ICC): until there more users get more answers, and
    from there on they get longer waits. Median and not mean stands for the response time, so that one slow
    request does not move it.
    """
    rising = len(steps) > 1 and all(low.load < high.load for low, high in pairwise(steps))
    if not rising:
        return None
    return _of_arrivals(steps) if loop == "open" else _of_users(steps)


def _of_arrivals(steps: Sequence[Step]) -> Knee:
    first = first_broken([step.kept for step in steps])
    carried = [step for step in steps[:first] if step.kept]
    broken = steps[first] if first < len(steps) else None
    return Knee(
        load=carried[-1].load if carried else None,
        broken=broken.load if broken else None,
        text=" ".join([_carried(carried, broken), *_exceptions(steps, first)]),
    )


def first_broken(kept: Sequence[bool]) -> int:
    """The place of the first step that broke its promise and was no accident; their number if there is none.

    One step that breaks between two that are carried is taken for an accident: a pause of the machine breaks
    any step, a load that is too high breaks those above it, too.

    Args:
        kept: Whether each step kept its promise, by rising load.
    """
    for place, held in enumerate(kept):
        accident = 0 < place < len(kept) - 1 and kept[place - 1] and kept[place + 1]
        if not held and not accident:
            return place
    return len(kept)


def _carried(carried: Sequence[Step], broken: Step | None) -> str:
    if broken is None:
        return f"Every load up to {_at(carried[-1])} was carried: where it breaks lies above."
    why = f"{broken.why}."
    if not carried:
        return f"Not even {_at(broken)} was carried: {why}"
    return f"Up to {_at(carried[-1])} was carried; at {_at(broken)}: {why}"


def _exceptions(steps: Sequence[Step], first: int) -> list[str]:
    accidents = [
        f"At {_at(step)} it broke once, though more was carried: {step.why}."
        for step in steps[:first]
        if not step.kept
    ]
    later = [_at(step) for step in steps[first + 1 :] if step.kept]
    return accidents + ([f"Beyond, {' and '.join(later)} was carried all the same."] if later else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Power:
    """Of a step: the logarithm of its throughput over its median, and its standard error."""

    step: Step
    rate: float
    median: float
    log_se: float

    @property
    def log(self) -> float:
        return math.log(self.rate / self.median)


def _of_users(steps: Sequence[Step]) -> Knee:
    powers = [power for step in steps if step.kept and (power := _power(step))]
    broken = next((step for step in steps if not step.kept), None)
    if not powers:
        text = f"Not even {_users(steps[0])} were served as promised: {steps[0].why or 'too few requests'}."
        return Knee(load=None, broken=broken.load if broken else None, text=text)
    best = max(powers, key=lambda power: power.log)
    gets = "gets" if best.step.load == 1 else "get"
    said = [
        f"{_users(best.step)} {gets} the most answers for the time they wait: {best.rate:.3g} a second.",
        f"Half of those come within {best.median:.3g} ms.",
        *_ties(best, powers),
        f"With {_users(broken)}: {broken.why}." if broken else "The promise held with all numbers of users.",
    ]
    return Knee(load=best.step.load, broken=broken.load if broken else None, text=" ".join(said))


def _power(step: Step) -> _Power | None:
    figures: Mapping[str, Figure] = {figure.name: figure for figure in step.response}
    rate, median = figures["throughput"], figures["p50"]
    if not rate.value or not median.value:
        return None
    # What makes replies slower makes a closed loop's throughput smaller: their errors add up.
    log_se = (rate.log_se or 0.0) + (median.log_se or 0.0)
    return _Power(step=step, rate=rate.value, median=median.value, log_se=log_se)


def _ties(best: _Power, powers: Sequence[_Power]) -> list[str]:
    near = [
        _users(other.step)
        for other in powers
        if other is not best and best.log - other.log < _Z * math.hypot(best.log_se, other.log_se)
    ]
    return [f"{' and '.join(near)} cannot be told from that."] if near else []


def _at(step: Step) -> str:
    return load(step.load, "open")


def _users(step: Step) -> str:
    return "1 user" if step.load == 1 else load(step.load, "closed")
