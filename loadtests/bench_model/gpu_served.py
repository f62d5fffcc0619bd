"""JPEG in, classes out, through gateway and TorchServe on a GPU: how fast, and which part limits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from loadtests.bench.generator import Load, LoadRun, generator
from loadtests.bench.measures import PHOTO_SIZE, PHOTOS
from loadtests.bench.photos import photos
from loadtests.bench.watch import GATEWAY, Watch
from loadtests.bench_model.gpu_watch import watched
from loadtests.scrape import scrape
from loadtests.stack import Stack, running_stack

CALLERS: Final = (1, 32, 128)
WARM_UP: Final = 256
BUSY: Final = 0.85  # of its time: a part that works so much is taken for the one that limits
_STAGES: Final = ("decode", "inference", "encode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One phase.

    Attributes:
        recipe: That the worker was asked for.
        callers: Concurrent ones, an image a request.
        run: As they saw it.
        cpu_s: CPU seconds by role, and of the generator.
        stages_s: Seconds of the worker's clock, by stage.
        seconds: Length of the phase.
        gpu_busy: Share of the time; None: the driver does not tell.
        gpu_memory_mb: Most; None likewise.
        cores: Of the machine.
    """

    recipe: str
    callers: int
    run: LoadRun
    cpu_s: Mapping[str, float]
    stages_s: Mapping[str, float]
    seconds: float
    gpu_busy: float | None
    gpu_memory_mb: float | None
    cores: int

    @property
    def shares(self) -> dict[str, float]:
        """How busy each part was, 1 being all that it can be.

        The worker decodes and infers in turns or side by side, so each is held against the whole time; the
        gateway is one process with one thread that does Python; the machine's cores are everybody's.
        """
        cpu = sum(self.cpu_s.values())
        return {
            "GPU": self.gpu_busy or 0.0,
            "decoding": self.stages_s["decode"] / self.seconds,
            "gateway": self.cpu_s.get(GATEWAY, 0.0) / self.seconds,
            "CPU of all, generator included": cpu / (self.seconds * self.cores),
        }

    @property
    def limits(self) -> str:
        """The part that limits, or that none does: then callers wait for each other, or for the network."""
        part, share = max(self.shares.items(), key=lambda item: item[1])
        return f"{part} ({share:.0%} busy)" if share >= BUSY else f"none; {part} is busiest ({share:.0%})"


def served(store: Path, net: str, recipe: str, seconds: float, say: Callable[[str], None]) -> list[Served]:
    """Start a gateway whose worker is asked for a recipe, and put load on it.

    Args:
        store: Holds the archive.
        net: The model's name.
        recipe: Name of a recipe that the archive lists.
        seconds: Length of a phase.
        say: Told what is going on.
    """
    settings = {
        "ATTNSERVE_MODEL_STORE": str(store),
        "ATTNSERVE_MODELS": json.dumps([net]),
        "ATTNSERVE_RECIPE": recipe,
        "ATTNSERVE_REQUIRE_GPU": "1",
        "ATTNSERVE_BATCHING_MAX_BATCH_IMAGES": "64",
    }
    say(f"{recipe}: starting")
    images = photos(PHOTOS, PHOTO_SIZE)
    with (
        TemporaryDirectory(prefix="attnserve-bench-") as folder,
        running_stack(Path(folder), settings) as stack,
        generator() as load,
    ):
        loads = [
            Load(grpc=stack.target.grpc, model=net, images=images, callers=callers) for callers in CALLERS
        ]
        load.for_requests(loads[-1], WARM_UP)
        found = []
        for one in loads:
            say(f"{recipe}: {one.callers} callers")
            found.append(_phase(recipe, stack, one, partial(load.for_seconds, one, seconds)))
        return found


def _phase(recipe: str, stack: Stack, load: Load, run: Callable[[], LoadRun]) -> Served:
    watch = Watch(stack.pid)
    before = _stages(stack, load.model)
    with watched() as readings:
        done = run()
    spent = watch.lap()
    after = _stages(stack, load.model)
    return Served(
        recipe=recipe,
        callers=load.callers,
        run=done,
        cpu_s={**spent.cpu_s, "generator": done.cpu_s},
        stages_s={stage: after[stage] - before[stage] for stage in _STAGES},
        seconds=spent.seconds,
        gpu_busy=readings.busy,
        gpu_memory_mb=readings.memory_mb,
        cores=len(os.sched_getaffinity(0)),
    )


def _stages(stack: Stack, model: str) -> dict[str, float]:
    page = scrape(stack.target.metrics)
    name = "attnserve_stage_duration_seconds_sum"
    return {stage: page.total(name, model=model, stage=stage) for stage in _STAGES}
