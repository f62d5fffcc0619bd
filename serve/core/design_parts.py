"""The parts of an experiment's design: arms, guardrails, overrides, and the kinds of value in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve.core.messages import MODEL_NAME, MODEL_VERSION

# Weights, ramps, holdouts and samples are whole numbers of this: no floats, so every language agrees.
WHOLE = 10_000
MOST_ARMS = 10

Name = Annotated[str, Field(pattern=f"^{MODEL_NAME}$")]
ModelVersion = Annotated[str, Field(pattern=f"^{MODEL_VERSION}$")]
Share = Annotated[int, Field(ge=0, le=WHOLE, strict=True)]
Level = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Unit = Annotated[str, Field(min_length=1, max_length=512)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class Mode(StrEnum):
    """What a request of an enrolled unit meets."""

    SPLIT = "split"  # one arm, by the unit's hash
    SHADOW = "shadow"  # the control answers; the others see the image afterwards
    PAIRED = "paired"  # the control answers; the others see the image at the same time, in random order


class Part(BaseModel):
    """Frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Arm(Part):
    """One variant."""

    name: Name = Field(description="Its name in replies, metrics and the report.")
    model: Name = Field(description="The model that answers.")
    version: ModelVersion = Field(description="Its version, pinned: a new one is a new experiment.")
    weight: Share | None = Field(
        default=None,
        description="In 1/10 000. split: its share of the units; paired: how often it is called first.",
    )
    labels: dict[str, str] = Field(
        default={}, description="Its labels -> the control's, where they are called otherwise."
    )


class Guardrail(Part):
    """What must not get worse; the experiment is rolled back when it does."""

    metric: Literal["error_rate", "slo_exceedance"] = Field(description="What is watched.")
    threshold_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="slo_exceedance: a call that takes longer counts."
    )
    max_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        default=1.5, description="The arm's rate may be so many times the control's."
    )
    alpha: Level = Field(
        default=0.01,
        description="Chance of a false rollback, over the whole experiment, where units fail alone.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.metric == "slo_exceedance") != (self.threshold_ms is not None):
            raise ValueError("threshold_ms goes with slo_exceedance, and only with it")
        return self


class Override(Part):
    """A unit that always gets an arm; it is left out of the analysis."""

    unit: Unit
    arm: Name
    reason: Reason


class KeepImages(Part):
    """Keep the bytes of images on which the arms disagree."""

    max_images: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 100
    days: Annotated[float, Field(gt=0, le=365)] = 7.0
