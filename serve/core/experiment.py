"""An experiment: the design that a person writes, and the version of it that is in force.

A design is checked here for everything that it can break by itself; what it breaks together with others (a
model that is not there, a layer that another experiment holds) is checked where these are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serve.core.design_parts import (
    MOST_ARMS,
    WHOLE,
    Arm,
    Guardrail,
    KeepImages,
    Level,
    Mode,
    Name,
    Override,
    Part,
    Share,
)

__all__ = [
    "ENDED",
    "LIVE",
    "WHOLE",
    "Alias",
    "Arm",
    "Design",
    "Experiment",
    "Guardrail",
    "KeepImages",
    "Mode",
    "Override",
    "Plan",
    "Range",
    "State",
]


class State(StrEnum):
    """Where an experiment stands in its life; `serve.core.lifecycle` has the ways between."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"


# States in which an experiment holds its place in its layer.
LIVE = frozenset({State.RUNNING, State.PAUSED})
ENDED = frozenset({State.PROMOTED, State.ROLLED_BACK, State.STOPPED})


class Design(Part):
    """An experiment as a person writes it."""

    name: Name = Field(description="Called like a model; never used twice.")
    description: Annotated[str, Field(max_length=2000)] = ""
    mode: Mode = Field(description="split | shadow | paired")
    layer: Name | Literal[""] = Field(
        default="",
        description="Experiments of one layer share its slots and never a unit; empty: its own layer.",
    )
    slots: tuple[Share, Share] = Field(
        default=(0, WHOLE), description="Its part of the layer: from the first to before the second."
    )
    arms: tuple[Arm, ...] = Field(min_length=2, max_length=MOST_ARMS, description="The first is the control.")
    ramp: Share = Field(default=WHOLE, description="Enrolled share of its slots, in 1/10 000.")
    holdout: Share = Field(
        default=0,
        description="Share of all units that always gets the control, the same in every experiment.",
    )
    sample: Share = Field(
        default=WHOLE, description="shadow, paired: share of the requests that the other arms see."
    )
    overrides: tuple[Override, ...] = Field(default=(), description="Units that always get an arm.")
    primary_metric: Literal["accuracy", "agreement", "latency_p50", "latency_p99", "error_rate"] = "accuracy"
    alpha: Level = Field(default=0.05, description="Chance of a false verdict, over the whole experiment.")
    margin: Level = Field(
        default=0.01,
        description="Smallest difference worth acting on; for latencies a share of the control's.",
    )
    pairs: Literal["one_per_unit", "all"] = Field(
        default="one_per_unit",
        description="shadow, paired: each unit's first pair and an exact test, or all of them, by unit.",
    )
    planned_units: Annotated[int, Field(ge=100, le=1_000_000_000, strict=True)] = Field(
        default=10_000, description="For which the intervals are narrowest; they hold for any number."
    )
    guardrails: tuple[Guardrail, ...] = ()
    keep_images: KeepImages | None = Field(default=None, description="Empty: image bytes are never kept.")
    alias: Name | Literal[""] = Field(
        default="",
        description="Points here while it runs, to the winner after promotion, else to the control.",
    )
    promote_when_better: bool = Field(
        default=False,
        description="Written down beforehand: promote the arm as soon as the verdict is better.",
    )

    @property
    def control(self) -> Arm:
        """The first arm."""
        return self.arms[0]

    @property
    def weights(self) -> tuple[int, ...]:
        """One an arm; they sum to `WHOLE`. In shadow mode the control has it all."""
        given = tuple(arm.weight or 0 for arm in self.arms)
        return given if any(given) else (WHOLE, *(0 for _ in self.arms[1:]))

    @property
    def layer_name(self) -> str:
        """The layer that it is in; by default one of its own."""
        return self.layer or self.name

    @model_validator(mode="after")
    def _arms_fit(self) -> Self:
        names = Counter(arm.name for arm in self.arms)
        doubled = [name for name, count in names.items() if count > 1]
        if doubled:
            raise ValueError(f"arms: the names {doubled} are given more than once")
        if self.alias == self.name:
            raise ValueError(f"alias: is {self.alias!r}, the experiment's own name")
        return self

    @model_validator(mode="after")
    def _weights_sum(self) -> Self:
        given = [arm.weight for arm in self.arms]
        if self.mode is Mode.SHADOW:
            if any(weight is not None for weight in given):
                raise ValueError(
                    "arms: weights mean nothing in shadow mode, where the control answers; leave them out"
                )
            return self
        if None in given:
            missing = [arm.name for arm in self.arms if arm.weight is None]
            raise ValueError(f"arms: {missing} have no weight, in 1/10 000")
        total = sum(weight or 0 for weight in given)
        if total != WHOLE:
            raise ValueError(f"arms: the weights {given} sum to {total}, must sum to {WHOLE}")
        return self

    @model_validator(mode="after")
    def _places_fit(self) -> Self:
        if self.slots[0] >= self.slots[1]:
            raise ValueError(f"slots: {list(self.slots)} hold nothing, the first must be below the second")
        names = {arm.name for arm in self.arms}
        unknown = sorted({override.arm for override in self.overrides} - names)
        if unknown:
            raise ValueError(f"overrides: {unknown} are no arms; known: {sorted(names)}")
        units = Counter(override.unit for override in self.overrides)
        doubled = [unit for unit, count in units.items() if count > 1]
        if doubled:
            raise ValueError(f"overrides: the units {doubled} are given more than once")
        return self

    @model_validator(mode="after")
    def _promotes_with_care(self) -> Self:
        if self.promote_when_better and all(one.metric != "error_rate" for one in self.guardrails):
            raise ValueError(
                "promote_when_better: needs a guardrail on error_rate, or an arm that is better at what it "
                "answers could be promoted for not answering"
            )
        return self

    @model_validator(mode="after")
    def _mode_offers_what_is_asked(self) -> Self:
        if self.mode is Mode.SPLIT:
            if self.primary_metric == "agreement":
                raise ValueError(
                    "primary_metric: agreement needs both arms to see one image: shadow or paired mode"
                )
            if self.keep_images:
                raise ValueError(
                    "keep_images: split mode finds no disagreements, each image is seen by one arm"
                )
            if self.sample != WHOLE:
                raise ValueError("sample: means nothing in split mode; use ramp")
        if self.mode is not Mode.SPLIT and self.primary_metric.startswith("latency"):
            raise ValueError(
                f"primary_metric: {self.primary_metric} needs split mode: in {self.mode.value} mode the "
                "mirrored call shares the machine with its caller's next request, and equal arms would differ"
            )
        if self.mode is not Mode.SPLIT and self.overrides:
            raise ValueError(
                f"overrides: mean nothing in {self.mode.value} mode, where the control always answers"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Slots start..stop-1 of the arm hash belong to the arm of that index."""

    start: int
    stop: int
    arm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One version of an experiment, as the ledger keeps it and every gateway reads it.

    Attributes:
        id: The ledger's number of the experiment; 0 before it is kept.
        number: Of this version, from 1; what If-Match names.
        seq: The ledger's number of this version among those of all experiments; 0 before it is kept.
        design: What is wanted.
        state: Where it stands.
        phase: Grows when the weights change; each phase is analysed apart.
        phases: The weights of every phase so far, one tuple a phase, the latest last.
        allocation: Which slots of the arm hash belong to which arm; covers 0..WHOLE-1 without gaps.
        labels: The control's labels, to which all answers are translated; empty before the start.
        translations: For each arm, index of its label -> index in `labels`; empty before the start.
        winner: The promoted arm's index; None in every other state.
        effective_at: Unix time from which it holds.
        created_at: Unix time at which this version was written.
        act: What made it: create, patch, start, ramp, pause, resume, promote, rollback, stop.
        author: The token's name; "guardrail" or "policy" for what the gateway did by itself.
        reason: Given by the author.
        digest: SHA-256 (hexadecimal) of this version and of the digest before it; "" before it is kept.
    """

    id: int = 0
    number: int
    seq: int = 0
    design: Design
    state: State
    phase: int = 0
    phases: tuple[tuple[int, ...], ...] = ()
    allocation: tuple[Range, ...] = ()
    labels: tuple[str, ...] = ()
    translations: tuple[tuple[int, ...], ...] = ()
    winner: int | None = None
    effective_at: float
    created_at: float
    act: str
    author: str
    reason: str
    digest: str = ""

    @property
    def name(self) -> str:
        """Its name, which is the design's."""
        return self.design.name

    @property
    def standing(self) -> Arm:
        """The arm that answers outside the experiment: the winner once there is one, else the control."""
        return self.design.arms[self.winner or 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A stable name; versioned like an experiment.

    Attributes:
        target: A model's name, "model:version", or an experiment's name.
    """

    name: str
    number: int
    seq: int = 0
    target: str
    effective_at: float
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every gateway serves by: the versions in force at one moment.

    Attributes:
        experiments: By name, each in its newest effective version.
        aliases: Alias -> target.
    """

    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
