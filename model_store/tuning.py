"""How fast each form of a net is on this machine, in a few seconds, and what follows from it.

The forms take turns, so that whatever else the machine does hits all of them alike; medians leave out the
rest. Deciding is apart from measuring: the same figures give the same decision.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from model_store.recipe_table import KINDS, PORTABLE, RecipeName
from model_store.threads import cpu_threads

BATCHES: Final = (1, 8)  # a lone caller, and many
BUDGET_S: Final = 4.0
FEWEST_ROUNDS: Final = 3
MOST_ROUNDS: Final = 15
SETTLING_RUNS: Final = 3  # torch.jit specialises a graph in its first two runs
LARGE_IMAGE_S: Final = 0.25  # where one image takes this long, eight show nothing new
WORTH_LISTING: Final = 1.05  # below that, noise decides, and float32 is the safer form
WORTH_A_THREAD: Final = 1.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A form of a net.

    Attributes:
        name: The recipe.
        module: x [N,3,H,W] -> logits.
        inputs: Batch size -> x in the form's precision and memory layout, for each of BATCHES.
    """

    name: RecipeName
    module: nn.Module
    inputs: Mapping[int, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of one forward pass, the median over all rounds.

    Attributes:
        name: The recipe.
        threads: CPU threads; None: all cores.
        batch: Images.
        seconds: Of the whole batch.
    """

    name: RecipeName
    threads: int | None
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What the figures say.

    Attributes:
        order: Recipes that are faster than `portable`, the fastest first, and `portable`.
        threads: CPU threads; None: all cores.
        gains: How many times as fast as `portable` each recipe is, with these threads, over all batch sizes.
    """

    order: tuple[RecipeName, ...]
    threads: int | None
    gains: Mapping[RecipeName, float]


def lack(name: RecipeName) -> str | None:
    """Why this machine cannot run a recipe as fast as it is meant; None: it can."""
    if KINDS[name].device == "cuda":
        return "no GPU is used for building"
    if KINDS[name].dtype == "bfloat16" and not _has_bfloat16():
        return "this CPU has no avx512_bf16 or amx"
    if name == "cpu-int8" and not _has_byte_products():
        return "this CPU has no avx512_vnni or amx"
    return None


@torch.inference_mode()
def measure(contenders: Sequence[Contender], threads: Sequence[int | None]) -> tuple[Timing, ...]:
    """Time every form with every number of threads, on one image and, where that is quick, on eight.

    Args:
        contenders: The forms.
        threads: Numbers of CPU threads to compare; None: all cores.
    """
    slowest = max(_settled(contender) for contender in contenders)
    batches = BATCHES[:1] if slowest > LARGE_IMAGE_S else BATCHES
    cases = list(itertools.product(threads, batches, contenders))
    _round(cases)  # each batch size allocates its memory once
    begun = time.perf_counter()
    rounds = [_round(cases)]
    more = int(BUDGET_S / max(time.perf_counter() - begun, 1e-6))
    rounds += [_round(cases) for _ in range(min(max(more, FEWEST_ROUNDS), MOST_ROUNDS) - 1)]
    return tuple(
        Timing(name=one.name, threads=count, batch=batch, seconds=statistics.median(seconds))
        for (count, batch, one), seconds in zip(cases, zip(*rounds, strict=True), strict=True)
    )


def decide(timings: Sequence[Timing]) -> Tuned:
    """Choose threads and order.

    All cores are taken where the fastest form gains a tenth by them, since a thread that waits costs whoever
    else needs the core. A form that does not beat `portable` by a twentieth is no gain.

    Args:
        timings: Of `portable` and others, each with the same numbers of threads and batch sizes.
    """
    costs = _costs(timings)
    best = {count: min(cost[count] for cost in costs.values()) for count in costs[PORTABLE]}
    # None, all cores, is the larger number.
    few, many = min(best, key=lambda count: count or math.inf), max(best, key=lambda count: count or math.inf)
    threads = many if best[few] >= WORTH_A_THREAD * best[many] else few
    gains = {name: costs[PORTABLE][threads] / cost[threads] for name, cost in costs.items()}
    faster = [name for name in gains if name != PORTABLE and gains[name] >= WORTH_LISTING]
    # `sorted` keeps the given order of equals.
    order = (*sorted(faster, key=lambda name: -gains[name]), PORTABLE)
    return Tuned(order=order, threads=threads, gains=gains)


def _has_bfloat16() -> bool:
    # What torch itself asks of these before it compiles for them; it offers no public way.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001  see above


def _has_byte_products() -> bool:
    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001  see above


def _costs(timings: Iterable[Timing]) -> dict[RecipeName, dict[int | None, float]]:
    """Recipe -> threads -> the geometric mean of its seconds over the batch sizes, which weighs all alike."""
    seconds: dict[RecipeName, dict[int | None, list[float]]] = {}
    for one in timings:
        seconds.setdefault(one.name, {}).setdefault(one.threads, []).append(one.seconds)
    return {
        name: {count: statistics.geometric_mean(found) for count, found in by_threads.items()}
        for name, by_threads in seconds.items()
    }


def _settled(contender: Contender) -> float:
    """Run a form until torch.jit is done with it; the seconds of its last run."""
    return [_seconds(contender, BATCHES[0]) for _ in range(SETTLING_RUNS)][-1]


def _round(cases: Sequence[tuple[int | None, int, Contender]]) -> list[float]:
    found = []
    for threads, batch, contender in cases:
        with cpu_threads(threads):
            found.append(_seconds(contender, batch))
    return found


def _seconds(contender: Contender, batch: int) -> float:
    begun = time.perf_counter()
    contender.module(contender.inputs[batch])
    return time.perf_counter() - begun
