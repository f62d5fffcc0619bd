"""Sweeps without a gateway: batch size of the bare module, image size, workers."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from loadtests.bench import archives
from loadtests.bench.bare import BareRun, bare_loop, classifier
from loadtests.bench.goal import Spread
from loadtests.bench.measures import PHOTO_SIZE
from loadtests.bench.photos import QUALITY, photos
from loadtests.bench_model.forms import FORMS, RECIPES, FormError, Run, Subject, make
from loadtests.bench_model.rounds import Key, interleave, timer
from loadtests.bench_model.rounds import Plan as Turns
from loadtests.growth.laws import Amdahl, Line
from loadtests.growth.plan import Plan
from loadtests.growth.sweep import Law, Sweep, curve

Say = Callable[[str], None]

_TURN_S: Final = 0.15
_SQUARE: Final = (427, 427)
_DECODES: Final = 5
_WORKER_BATCH: Final = 4
_FEW_CORES: Final = 8


def batch_sizes(net: str, plan: Plan, say: Say) -> Sweep:
    """Time of a batch of the bare module, in the best form that this machine has."""
    subject = Subject.of_zoo(net)
    form, run = _best(subject)
    with torch.inference_mode():
        timers = {
            Key(net=net, form=form, batch=batch): timer(
                partial(run, FORMS[form].input(subject.images(batch)))
            )
            for batch in plan.batches
        }
        rounds = interleave(timers, Turns(rounds=plan.rounds, turn_s=_TURN_S), say)
    found = [Spread.of(1e3 * value for value in rounds.seconds[key]) for key in timers]
    line = Line.through(plan.batches, [one.median for one in found])
    rates = [rounds.rate(key) for key in timers]
    return Sweep(
        name="batch",
        title=f"Batch size: {net}, {form}, one module in a bare loop",
        over="images in a batch",
        at=plan.batches,
        curves=(
            curve("time of a batch", "ms", found, Law(says=_says(line), line=line.at), plan.batches),
            curve(
                "throughput of the module",
                "images/s",
                rates,
                Law(says="b / (a + c b)", line=lambda batch: 1e3 * batch / line.at(batch)),
                plan.batches,
            ),
        ),
    )


def image_sizes(folder: Path, plan: Plan, say: Say) -> Sweep:
    """Time that the handler needs to decode and resize one image, over its number of pixels."""
    worker = classifier(folder)
    jpegs = {side: _square(side) for side in plan.sides}
    found: dict[int, list[float]] = {side: [] for side in plan.sides}
    for number in range(plan.rounds):
        say(f"image sizes: round {number + 1} of {plan.rounds}")
        for side, jpeg in jpegs.items():
            worker.run([jpeg], explain=False)
            times = [worker.run([jpeg], explain=False).decode_us for _ in range(_DECODES)]
            found[side].append(sorted(times)[_DECODES // 2] / 1e3)
    spreads = [Spread.of(times) for times in found.values()]
    pixels = [side**2 / 1e6 for side in plan.sides]
    line = Line.through(pixels, [one.median for one in spreads])
    says = f"{line.a:.2f} + {line.c:.2f} p ms for p megapixels: proportional to pixels, and a start"
    return Sweep(
        name="image",
        title="Image size: decoding and resizing one JPEG, one thread",
        over="width and height, pixels",
        at=plan.sides,
        curves=(
            curve(
                "decoding",
                "ms",
                spreads,
                Law(says=says, line=lambda side: line.at(side**2 / 1e6)),
                plan.sides,
            ),
        ),
        remarks=("A decoder that scales while it decodes does less work a pixel from twice the size on.",),
    )


def workers(folder: Path, plan: Plan, say: Say) -> Sweep:
    """Images a second of several workers that share nothing but the machine, one thread each."""
    cores = len(os.sched_getaffinity(0))
    counts = _counts(cores)
    images = photos(16, PHOTO_SIZE)
    found: dict[int, list[float]] = {count: [] for count in counts}
    with ExitStack() as stack:
        loops = []
        for number in range(cores):
            say(f"workers: starting {number + 1} of {cores}")
            loops.append(stack.enter_context(bare_loop(folder, images, _WORKER_BATCH, threads=1)))
        for number in range(plan.phases + 1):
            for count in counts:
                say(f"workers: {count} of {cores}, round {number + 1}")
                found[count].append(_rate([loop.start(plan.phase_s) for loop in loops[:count]]))
    rates = [Spread.of(values) for values in found.values()]
    law = Amdahl.through(counts, [rate.median for rate in rates])
    says = f"Amdahl's law: {law.rate:.1f} / (s + (1 - s) / n), serial share s = {law.serial:.3f}"
    return Sweep(
        name="workers",
        title=f"Workers: {archives.REAL}, JPEG in, one thread a worker, no gateway",
        over="worker processes",
        at=counts,
        curves=(curve("throughput of workers", "images/s", rates, Law(says=says, line=law.at), counts),),
        remarks=(f"This machine has {cores} cores; a line through two points is no test of the law.",)
        if len(counts) <= 2  # noqa: PLR2004  points that a line of two parameters always meets
        else (),
    )


def _best(subject: Subject) -> tuple[str, Run]:
    for form in reversed(RECIPES[1:]):
        try:
            return form, make(form, subject)
        except FormError:  # the next one may do
            continue
    return RECIPES[0], make(RECIPES[0], subject)


def _square(side: int) -> bytes:
    """A photograph of that size; enlarged ones have less detail than a camera's."""
    with Image.open(io.BytesIO(photos(1, _SQUARE)[0])) as photo:
        buffer = io.BytesIO()
        photo.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _rate(running: Sequence[Future[BareRun]]) -> float:
    return sum(run.result().rate for run in running)


def _counts(cores: int) -> tuple[int, ...]:
    """All numbers of workers on a small machine, powers of two and the last on a large one."""
    if cores <= _FEW_CORES:
        return tuple(range(1, cores + 1))
    powers = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return (*powers, cores)


def _says(line: Line) -> str:
    return f"t = a + c b = {line.a:.2f} + {line.c:.2f} b ms"
