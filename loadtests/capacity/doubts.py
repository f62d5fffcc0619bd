"""What stands against believing a model: where it does not fit what was measured, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadtests.capacity.errors import UNSEEN, errors, in_words, saturation_error
from loadtests.capacity.fit import WIDEST
from loadtests.capacity.fitted import Fitted
from loadtests.capacity.knee import Knee

# Median errors on unseen steps, by percentile: an estimate that is off by more is none to plan with.
_MOST: Final = {"p50": 0.15, "p90": 0.25, "p95": 0.25, "p99": 0.3}
_MOST_OF_BATCH: Final = 0.2
_MOST_OF_KNEE: Final = 0.15
_MOST_BEYOND: Final = 1.25  # times the highest rate that was carried
_WORDS: Final = {"held_out": "that were held out", "left_out": "left out one at a time"}


def doubts(model: Fitted, found: Knee) -> list[str]:
    """Every one; empty where nothing speaks against it."""
    if not model.steps:
        return ["Nothing was measured: these are the times of an assumed worker."]
    return [*_of_percentiles(model), *_of_service(model), *_of_knee(model, found)]


def _of_percentiles(model: Fitted) -> Iterator[str]:
    found = errors(model)
    workers, most = model.batching.workers, model.batching.max_batch
    served = f"{workers} worker{'s' if workers > 1 else ''}, at most {most} images in a batch"
    for how in UNSEEN:
        off = [
            f"{name} by {in_words(error['median'])} (more than {_MOST[name]:.0%})"
            for name, error in found[how].items()
            if error["median"] > _MOST[name]
        ]
        if off:
            yield (
                f"At the median of the steps {_WORDS[how]} it is off: {', '.join(off)}. Requests wait for"
                f" something that is not in the model, or they are not served as it was told: {served}."
            )


def _of_service(model: Fitted) -> Iterator[str]:
    if model.line_worst > _MOST_OF_BATCH:
        yield (
            f"The time of a batch is no straight line of its images: off by up to {model.line_worst:.0%},"
            f" more than {_MOST_OF_BATCH:.0%}."
        )
    if model.service.spread > 0.95 * WIDEST:
        yield "Batches would have to vary beyond reason to explain the response times."


def _of_knee(model: Fitted, found: Knee) -> Iterator[str]:
    if found.error is not None and abs(found.error) > _MOST_OF_KNEE:
        side = "above" if found.error > 0 else "below"
        yield f"The knee is predicted {abs(found.error):.0%} {side} where it was measured."
    error = saturation_error(model)
    if error is not None and abs(error) > _MOST_OF_KNEE:
        yield (
            f"Beyond the break {model.saturation:.0f} requests a second were answered, the model says"
            f" {model.service.saturation(model.batching):.0f}."
        )
    highest = max(step.rate for step in model.steps)
    if found.predicted is not None and found.broken is None and found.predicted > _MOST_BEYOND * highest:
        yield (
            f"The knee is predicted at {found.predicted:.0f} a second, but no step went beyond {highest:.0f}:"
            " measure up to the break, with a higher --rate."
        )
