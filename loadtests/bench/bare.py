"""The limit: the archive's own handler code and module in a bare loop, in a process of its own.

No server, no queue, no packing: decode a batch in the handler's thread pool, run the net, again.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch

from handlers.attn_archive import read_signature
from handlers.attn_batch import Preparer
from handlers.attn_decode import ImageLimits
from handlers.attn_device import Placement
from handlers.attn_net import Net
from handlers.classify import MAX_DECODE_THREADS


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


class _Loop:
    """Lives in the process of its own."""

    def __init__(self, folder: Path, images: tuple[bytes, ...], batch: int) -> None:
        signature = read_signature(folder)
        if signature.threads is not None:
            torch.set_num_threads(signature.threads)
        pool = ThreadPoolExecutor(min(MAX_DECODE_THREADS, os.cpu_count() or 1))
        self._preparer = Preparer(signature.recipe, ImageLimits(), pool, pin=False)
        self._net = Net(folder, signature, Placement(device=torch.device("cpu"), dtype=torch.float32))
        self._net.warm_up()
        self._images = cycle(images)
        self._batch = batch

    def run(self, seconds: float) -> BareRun:
        images, decode_s, inference_s = 0, 0.0, 0.0
        cpu = time.process_time()
        started = now = time.perf_counter()
        while now - started < seconds:
            prepared = self._preparer.prepare(list(islice(self._images, self._batch)))
            decoded = time.perf_counter()
            self._net(prepared.batch)
            decode_s += decoded - now
            now = time.perf_counter()
            inference_s += now - decoded
            images += len(prepared.order)
        return BareRun(
            images=images,
            seconds=now - started,
            decode_s=decode_s,
            inference_s=inference_s,
            cpu_s=time.process_time() - cpu,
        )


_loops: list[_Loop] = []


class BareLoop:
    """A handle on the loop's process; idle between two runs."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def run(self, seconds: float) -> BareRun:
        """Run for about so many seconds: no batch is cut short."""
        return self._process.submit(_run, seconds).result()


@contextmanager
def bare_loop(folder: Path, images: tuple[bytes, ...], batch: int) -> Iterator[BareLoop]:
    """Start the process, with the net loaded and warm.

    Args:
        folder: An unpacked archive.
        images: Encoded, taken in turn.
        batch: Images in one forward pass.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _load, (folder, images, batch)) as process:
        process.submit(_run, 0.0).result()
        yield BareLoop(process)


def _load(folder: Path, images: tuple[bytes, ...], batch: int) -> None:
    _loops.append(_Loop(folder, images, batch))


def _run(seconds: float) -> BareRun:
    return _loops[0].run(seconds)
