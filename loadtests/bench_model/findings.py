"""What is measured of nets in their forms, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.bench_model.forms import FORMS, RECIPES, Precision
from loadtests.bench_model.openvino import PRECISIONS
from loadtests.bench_model.rounds import Key, Plan, Rounds
from loadtests.machine import Machine

PLAIN: Final = ("script", "eager", "portable", "cpu-bf16", "cpu-fused", "cpu-int8")
OPENVINO: Final = "openvino-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A net with attention, and the same without.

    Attributes:
        name: Of the attention.
        net: With it.
        backbone: Without.
        most: Share that it may cost, as the project's goal.
        stretch: As the best that could be hoped for.
    """

    name: str
    net: str
    backbone: str
    most: float
    stretch: float


# SE's stretch is what its authors measured: 167 against 164 ms (Hu et al. 2018, arXiv:1709.01507, section 4).
PAIRS: Final = (
    Pair(name="SE", net="se_resnet50", backbone="resnet50", most=0.10, stretch=0.018),
    Pair(name="ECA", net="eca_resnet50", backbone="resnet50", most=0.10, stretch=0.01),
    Pair(name="SK", net="sknet50", backbone="resnext50_32x4d", most=0.30, stretch=0.10),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be measured.

    Attributes:
        net: The one that is measured in every form.
        batches: Sizes.
        threads: Of torch and of OpenVINO.
        pairs: Nets with attention, and without.
        forms: Of `net`.
        openvino: Folder of its environment; None: without it.
        plan: How much.
    """

    net: str
    batches: tuple[int, ...] = (1, 8)
    threads: int
    pairs: tuple[Pair, ...] = PAIRS
    forms: tuple[str, ...] = PLAIN
    openvino: Path | None = None
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured.

    Attributes:
        machine: Where and when.
        wish: What was to be.
        rounds: Seconds.
        macs: Multiply-adds for an image, by net.
        peaks: Of the machine's matrix multiplication, operations a second, by precision.
        errors: By net and form: largest difference to the eager net's logits, relative to the largest.
        missing: What cannot be had here, and why.
        others_cores: Cores that other programs kept busy meanwhile.
    """

    machine: Machine
    wish: Wish
    rounds: Rounds
    macs: Mapping[str, int]
    peaks: Mapping[str, float]
    errors: Mapping[str, Mapping[str, float]]
    missing: Sequence[str]
    others_cores: float

    def limit(self, net: str, precision: str) -> float | None:
        """Images a second that the peak allows; None: it is not known for that precision."""
        peak_rate = self.peaks.get(precision)
        return None if peak_rate is None else peak_rate / (2 * self.macs[net])

    def fastest(self, net: str, batch: int) -> str | None:
        """The recipe in which a net is fastest; None: it was measured in none."""
        rates = {
            form: self.rounds.rate(key).median
            for form in RECIPES
            if (key := Key(net=net, form=form, batch=batch)) in self.rounds
        }
        return max(rates, key=rates.__getitem__, default=None)


def precision_of(form: str) -> Precision:
    """Of any form's arithmetic."""
    return FORMS[form].precision if form in FORMS else PRECISIONS[form.removeprefix(OPENVINO)]
