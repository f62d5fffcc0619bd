"""Simulated traffic for an example report: images on a sorting line, and what two arms say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serve.core.experiment import WHOLE, Experiment
from serve.core.record import SCALE, CallRecord, Outcome, Role, Said

HOUR = 3600.0
LABELS = ("bottle", "can", "carton", "cup", "foil", "jar", "lid", "paper", "textile", "wrap")
IMAGES_AN_HOUR = 60
# Of the images, those that get a label; of the calls, those that fail, and those that wait.
LABELLED, FAILING, WAITING = 0.65, 0.001, 0.03
# Of the control and of the arm; the logarithm spreads by SPREAD.
MEDIAN_MS, SPREAD = (21.0, 17.5), 0.28
# A class that is mistaken for another more often than for all others.
TWINS = {"cup": "lid", "lid": "cup", "foil": "wrap"}
MISTAKEN_FOR_TWIN = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Of one true class.

    Attributes:
        control: That the control is right.
        kept: That the arm is, where the control is.
        gained: That the arm is, where the control is not.
    """

    control: float
    kept: float
    gained: float


USUAL = Chances(control=0.88, kept=0.985, gained=0.20)
# The arm tells cups from lids better, and foil from wrap worse.
CHANCES: Mapping[str, Chances] = {
    "cup": Chances(control=0.80, kept=0.985, gained=0.34),
    "lid": Chances(control=0.80, kept=0.985, gained=0.34),
    "foil": Chances(control=0.88, kept=0.955, gained=0.15),
}


class SortingLine:
    """Where the images come from; the same seed gives the same images and answers."""

    def __init__(self, seed: int) -> None:
        """Begin with the first image."""
        self._random = np.random.default_rng(seed)
        self._images = 0

    def hour(self, experiment: Experiment, at: float) -> tuple[list[CallRecord], list[Outcome]]:
        """The calls and labels of one hour from the Unix time `at` on; each image is a unit of its own."""
        calls: list[CallRecord] = []
        outcomes: list[Outcome] = []
        for _ in range(self._random.poisson(IMAGES_AN_HOUR * experiment.design.ramp / WHOLE)):
            self._images += 1
            name, when = f"{self._images:032x}", at + float(self._random.uniform(0, HOUR))
            true = int(self._random.integers(len(LABELS)))
            said = self._said(true)
            answered = [self._call(experiment, arm, (name, when), said[arm]) for arm in (0, 1)]
            calls += answered
            if self._happens(LABELLED) and any(call.answers for call in answered):
                outcomes.append(_label(name, true, when))
        return calls, outcomes

    def _happens(self, chance: float) -> bool:
        return bool(self._random.random() < chance)

    def _said(self, true: int) -> tuple[Said, Said]:
        chances = CHANCES.get(LABELS[true], USUAL)
        wrong = self._other(true)
        if self._happens(chances.control):
            control, arm = true, true if self._happens(chances.kept) else wrong
        else:
            control, arm = wrong, true if self._happens(chances.gained) else wrong
        return self._answer(control, true), self._answer(arm, true)

    def _other(self, true: int) -> int:
        twin = TWINS.get(LABELS[true])
        if twin and self._happens(MISTAKEN_FOR_TWIN):
            return LABELS.index(twin)
        return (true + int(self._random.integers(1, len(LABELS)))) % len(LABELS)

    def _answer(self, top1: int, true: int) -> Said:
        sure = self._random.beta(9, 1.5) if top1 == true else self._random.beta(4, 3)
        return Said(top1=top1, confidence=round(SCALE * float(sure)))

    def _call(self, experiment: Experiment, arm: int, image: tuple[str, float], said: Said) -> CallRecord:
        failed = self._happens(FAILING)
        took_ms = MEDIAN_MS[arm] * float(np.exp(SPREAD * self._random.standard_normal()))
        took_ms += float(self._random.exponential(30)) * self._happens(WAITING)
        design = experiment.design.arms[arm]
        return CallRecord(
            experiment=1,
            version=experiment.number,
            phase=0,
            prediction=image[0],
            unit=image[0],
            arm=arm,
            role=Role.MIRROR if arm else Role.SERVED,
            at=image[1],
            model=design.model,
            model_version=design.version,
            outcome="internal" if failed else "ok",
            failed=failed,
            latency_us=round(1000 * took_ms),
            queue_us=0,
            answers=() if failed else (said,),
        )


def _label(prediction: str, label: int, when: float) -> Outcome:
    return Outcome(
        ticket=None,
        experiment=1,
        prediction=prediction,
        item=0,
        label=label,
        source="inspection",
        at=when + 60,
    )
