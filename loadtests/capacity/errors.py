"""How far predictions were off, on steps that the model had not seen."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Final, TypeAlias

from loadtests.capacity.fitted import Compared, Fitted
from loadtests.capacity.measured import PERCENTILES

Errors: TypeAlias = dict[str, dict[str, float]]

_LARGE: Final = 2.0
UNSEEN: Final = ("held_out", "left_out")


def errors(model: Fitted) -> dict[str, Errors]:
    """Median and worst errors, without sign, of how many steps: by how unseen they were, and percentile."""
    return {how: _errors(model.steps, how) for how in UNSEEN}


def _errors(steps: Iterable[Compared], how: str) -> Errors:
    found: Errors = {}
    for name in PERCENTILES:
        shares = [
            abs(getattr(step, how)[name] / step.measured[name] - 1)
            for step in steps
            if name in getattr(step, how) and name in step.measured
        ]
        if shares:
            found[name] = {"median": median(shares), "worst": max(shares), "steps": len(shares)}
    return found


def saturation_error(model: Fitted) -> float | None:
    """By which share the most that is predicted is above what was measured; None where nothing broke."""
    if model.saturation is None:
        return None
    return model.service.saturation(model.batching) / model.saturation - 1


def in_words(share: float) -> str:
    """An error without its sign: "12%", "a factor of 14"."""
    return f"{share:.0%}" if share < _LARGE else f"a factor of {1 + share:.0f}"
