"""Which arm a unit gets: a pure function of the experiment's version and the unit, so all gateways agree.

Each question has a hash of its own (`serve.core.buckets`), so that its answer says nothing about the others:

========= ==================== =============================================================
question  salt                 yes when the unit's bucket is
========= ==================== =============================================================
holdout   ``/holdout``         below `holdout`; the same hash in every experiment
slot      layer + ``/slot``    in `slots`: the experiment's own part of its layer
ramp      name + ``/ramp``     below `ramp`: a ramp that grows only adds units
arm       name + ``/arm``      in a range of the allocation: says which arm is the unit's own
========= ==================== =============================================================

They are asked in this order; an override comes after the holdout, before the slot. Which requests the other
arms see (name + ``/sample``) and which arm is called first (name + ``/order``) go by the prediction's id.
tests/contract/vectors/assignment.json holds all this for programs in other languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from serve.core.buckets import Check, Gate, Table, encode
from serve.core.experiment import WHOLE, Experiment, Mode, Range, State


class Why(StrEnum):
    """Why a unit got its arm; the reply's parameter `assignment`. Only `HASH` is recorded and analysed."""

    HASH = "hash"  # it takes part
    OVERRIDE = "override"  # the design names it
    HOLDOUT = "holdout"  # it takes part in no experiment
    FALLBACK = "fallback"  # its arm could not answer; the gateway says so, never the hash
    SINGLE = "single"  # one arm answers all who are not enrolled, and all when nothing runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a unit gets.

    Attributes:
        arm: Index of the arm that answers; of an enrolled unit in shadow and paired mode the control's.
    """

    arm: int
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a unit gets, and why, in a sentence and in numbers.

    Attributes:
        number: Of the experiment's version.
        arm: Name of the arm that answers.
        checks: All four questions in their order, also those that did not matter.
    """

    experiment: str
    number: int
    unit: str
    arm: str
    why: Why
    sentence: str
    checks: tuple[Check, ...]


def allocate(weights: Sequence[int]) -> tuple[Range, ...]:
    """Give every arm one range of the slots, in the arms' order.

    Args:
        weights: One an arm, none negative; they sum to `WHOLE`.
    """
    return _ranges([arm for arm, weight in enumerate(weights) for _ in range(weight)])


def reallocate(ranges: Sequence[Range], weights: Sequence[int]) -> tuple[Range, ...]:
    """Move as few slots as new weights need: an arm only gives, or only takes.

    It gives from the end that is nearer to the taking arm in the arms' order, so that two arms always stay
    two ranges, and old weights bring back the old ranges.

    Args:
        ranges: The present allocation; covers 0..WHOLE-1 without gaps.
        weights: One an arm, none negative; they sum to `WHOLE`.

    Returns:
        Ascending ranges without gaps, neighbours of one arm joined.
    """
    owners = [piece.arm for piece in ranges for _ in range(piece.start, piece.stop)]
    growth = [weight - owners.count(arm) for arm, weight in enumerate(weights)]
    for taker in range(len(growth)):
        for giver in range(len(growth)):
            count = min(growth[taker], -growth[giver])
            if count > 0:
                _hand_over(owners, giver, taker, count)
                growth[taker] -= count
                growth[giver] += count
    return _ranges(owners)


class Assigner:
    """Answers for one version of an experiment; whatever does not depend on the unit is worked out once."""

    def __init__(self, experiment: Experiment) -> None:
        design = experiment.design
        indices = {arm.name: index for index, arm in enumerate(design.arms)}
        self._experiment = experiment
        self._overrides = {
            override.unit: Assignment(arm=indices[override.arm], why=Why.OVERRIDE)
            for override in design.overrides
        }
        self._holdout = Gate("holdout", "/holdout", 0, design.holdout)
        self._slot = Gate("slot", f"{design.layer_name}/slot", *design.slots)
        self._ramp = Gate("ramp", f"{design.name}/ramp", 0, design.ramp)
        self._sample = Gate("sample", f"{design.name}/sample", 0, design.sample)
        self._arm = Table(f"{design.name}/arm", experiment.allocation)
        self._order = Table(f"{design.name}/order", experiment.allocation)
        self._mode = design.mode
        self._running = experiment.state is State.RUNNING
        self._single = Assignment(arm=experiment.winner or 0, why=Why.SINGLE)
        self._held_out = Assignment(arm=0, why=Why.HOLDOUT)
        self._enrolled = tuple(Assignment(arm=arm, why=Why.HASH) for arm in range(len(design.arms)))

    def assign(self, unit: str) -> Assignment:
        """Say which arm answers a unit.

        Args:
            unit: Any text, also an empty one.

        Raises:
            InvalidRequestError: The text has no UTF-8.
        """
        data = encode(unit)
        if not self._running:
            return self._single
        if self._holdout.lets(data):
            return self._held_out
        if unit in self._overrides:
            return self._overrides[unit]
        if not (self._slot.lets(data) and self._ramp.lets(data)):
            return self._single
        return self._enrolled[self._arm.arm_of(data) if self._mode is Mode.SPLIT else 0]

    def first(self, prediction: str) -> int:
        """Index of the arm that is called first for a request: in paired mode by hash, as often as weighted.

        In the other modes the control.
        """
        return self._order.arm_of(encode(prediction)) if self._mode is Mode.PAIRED else 0

    def mirrored(self, prediction: str) -> bool:
        """Whether the other arms see this request of an enrolled unit: by hash; never in split mode."""
        return self._mode is not Mode.SPLIT and self._sample.lets(encode(prediction))

    def explain(self, unit: str) -> Explanation:
        """Say what a unit gets and why; nothing is recorded.

        Raises:
            InvalidRequestError: The text has no UTF-8.
        """
        assignment, data = self.assign(unit), encode(unit)
        gates = (self._holdout, self._slot, self._ramp)
        checks = (*(gate.check(data) for gate in gates), self._arm.check(data))
        return Explanation(
            experiment=self._experiment.name,
            number=self._experiment.number,
            unit=unit,
            arm=self._experiment.design.arms[assignment.arm].name,
            why=assignment.why,
            sentence=self._sentence(unit, checks),
            checks=checks,
        )

    def _sentence(self, unit: str, checks: tuple[Check, ...]) -> str:
        state, standing = self._experiment.state, self._experiment.standing.name
        reason = self._reason(unit, checks)
        if state is State.RUNNING:
            return f"{reason[0].upper()}{reason[1:]}."
        now = f"The experiment is {state.value.replace('_', ' ')}, so {standing!r} answers everybody"
        if state is State.DRAFT:
            now = "The experiment is a draft, so it answers nobody"
        if state in {State.DRAFT, State.PAUSED}:
            return f"{now}; when it runs: {reason}."
        return f"{now}."

    def _reason(self, unit: str, checks: tuple[Check, ...]) -> str:
        """Why the unit gets what it gets while the experiment runs, without the full stop."""
        holdout, slot, ramp, arm = checks
        design = self._experiment.design
        control = f"the control {design.control.name!r} answers"
        if holdout.passed:
            return f"the unit is held out of all experiments ({_below(holdout)}), so {control}"
        for override in design.overrides:
            if override.unit == unit:
                return f"an override gives the unit {override.arm!r}, for the reason {override.reason!r}"
        if not slot.passed:
            place = f"its slot {slot.bucket} is outside {slot.start}..{slot.stop - 1}"
            return f"the unit is outside the experiment's part of its layer ({place}), so {control}"
        if not ramp.passed:
            return f"the ramp has not reached the unit ({_below(ramp)}), so {control}"
        if design.mode is not Mode.SPLIT:
            seen = f"the other arms see {design.sample} of {WHOLE} of its requests"
            return f"the unit takes part; in {design.mode.value} mode {control} and {seen}"
        name = design.arms[self._arm.range_of(arm.bucket).arm].name
        place = f"its bucket {arm.bucket} is in {arm.start}..{arm.stop - 1}"
        return f"the unit takes part; {place}, so {name!r} answers"


def _hand_over(owners: list[int], giver: int, taker: int, count: int) -> None:
    held = [slot for slot, owner in enumerate(owners) if owner == giver]
    for slot in held[:count] if taker < giver else held[-count:]:
        owners[slot] = taker


def _ranges(owners: Sequence[int]) -> tuple[Range, ...]:
    runs = [list(run) for _, run in groupby(range(len(owners)), key=owners.__getitem__)]
    return tuple(Range(start=run[0], stop=run[-1] + 1, arm=owners[run[0]]) for run in runs)


def _below(check: Check) -> str:
    relation = "is below" if check.passed else "is not below"
    return f"its {check.question} bucket {check.bucket} {relation} {check.stop}"
