"""The limit: the archive's own handler in a bare loop, in a process of its own.

No server, no queue, no packing: the handler decodes a batch and runs the net in the recipe that it chose,
again and again.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import torch

from handlers.attn_rows import Context
from handlers.classify import Classifier


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRun:
    """What the loop did.

    Attributes:
        images: Decoded and classified.
        seconds: In all, and of these in decoding and in the net.
        cpu_s: CPU time of the process.
    """

    images: int
    seconds: float
    decode_s: float
    inference_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def classifier(folder: Path) -> Classifier:
    """The handler of an unpacked archive, as a worker has it: loaded, warm, in the best recipe."""
    found = Classifier()
    properties = {"model_dir": str(folder), "gpu_id": 0 if torch.cuda.is_available() else None}
    found.initialize(cast("Context", SimpleNamespace(system_properties=properties, model_yaml_config=None)))
    return found


class _Loop:
    """Lives in the process of its own."""

    def __init__(self, folder: Path, images: tuple[bytes, ...], batch: int, threads: int | None) -> None:
        self._classifier = classifier(folder)
        if threads is not None:
            torch.set_num_threads(threads)
        self._images = cycle(images)
        self._batch = batch

    @property
    def recipe(self) -> str:
        """What the handler chose."""
        return self._classifier.recipe

    def run(self, seconds: float) -> BareRun:
        images, decode_us, inference_us = 0, 0, 0
        cpu = time.process_time()
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            run = self._classifier.run(list(islice(self._images, self._batch)), explain=False)
            decode_us += run.decode_us
            inference_us += run.inference_us
            images += self._batch
        return BareRun(
            images=images,
            seconds=time.perf_counter() - started,
            decode_s=decode_us / 1e6,
            inference_s=inference_us / 1e6,
            cpu_s=time.process_time() - cpu,
        )


_loops: list[_Loop] = []


class BareLoop:
    """A handle on the loop's process; idle between two runs."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def run(self, seconds: float) -> BareRun:
        """Run for about so many seconds: no batch is cut short."""
        return self.start(seconds).result()

    def start(self, seconds: float) -> Future[BareRun]:
        """The same, without waiting for it."""
        return self._process.submit(_run, seconds)

    def recipe(self) -> str:
        """Name of the recipe that the handler chose on this machine."""
        return self._process.submit(_recipe).result()


@contextmanager
def bare_loop(
    folder: Path, images: tuple[bytes, ...], batch: int, threads: int | None = None
) -> Iterator[BareLoop]:
    """Start the process, with the net loaded and warm.

    Args:
        folder: An unpacked archive.
        images: Encoded, taken in turn.
        batch: Images in one forward pass.
        threads: Of the forward pass; None: as the archive says.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _load, (folder, images, batch, threads)) as process:
        process.submit(_run, 0.0).result()
        yield BareLoop(process)


def _load(folder: Path, images: tuple[bytes, ...], batch: int, threads: int | None) -> None:
    _loops.append(_Loop(folder, images, batch, threads))


def _run(seconds: float) -> BareRun:
    return _loops[0].run(seconds)


def _recipe() -> str:
    return _loops[0].recipe
