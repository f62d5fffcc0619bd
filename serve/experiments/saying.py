"""What an arm said, in the control's words: the likeliest class of each image and how sure it was."""

from __future__ import annotations

from serve.core.experiment import Experiment
from serve.core.messages import Prediction
from serve.core.record import SCALE, Said


def said(prediction: Prediction, experiment: Experiment, arm: int) -> tuple[Said | None, ...]:
    """One an image; None for one that failed.

    Args:
        prediction: Of the arm, with its probabilities [n, K].
        experiment: Its labels are those that count.
        arm: Whose answer it is; its classes are translated.
    """
    rows = prediction.outputs["probabilities"]
    classes = experiment.translations[arm]
    best = rows.argmax(axis=1)
    return tuple(
        None if status else Said(top1=classes[top], confidence=_scaled(float(row[top])))
        for status, row, top in zip(prediction.status, rows, best.tolist(), strict=True)
    )


def _scaled(probability: float) -> int:
    return min(SCALE, max(0, round(probability * SCALE)))
