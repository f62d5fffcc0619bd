"""The way in of one model: which decoder, how many threads, and what is decoded while the net computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns

import torch

from .attn_archive import Signature
from .attn_batch import Prepared, Preparer
from .attn_decoders import choose_decoder
from .attn_device import decode_threads_for, overlaps, stages
from .attn_net import NetInput
from .attn_options import Options
from .attn_wire import Item


class Stages:
    """The inputs of one run, as they become ready, and what is known of those that are."""

    def __init__(self, begin: Callable[[], Iterator[Prepared]]) -> None:
        """Begin to decode."""
        started = perf_counter_ns()
        self._coming = begin()
        self.waited_ns = perf_counter_ns() - started
        self.done: list[Prepared] = []

    def inputs(self) -> Iterator[NetInput]:
        """Those with a usable item, in order. Waiting for one is added to `waited_ns`."""
        while True:
            started = perf_counter_ns()
            stage = next(self._coming, None)
            self.waited_ns += perf_counter_ns() - started
            if stage is None:
                return
            self.done.append(stage)
            if stage.order:
                yield stage.batch


class Intake:
    """Turns the items of one run into inputs of the net.

    Attributes:
        decoder: Name of what reads JPEG files.
        decoder_reasons: Why others, which were asked for or tried first, do not.
    """

    def __init__(self, signature: Signature, options: Options, device: torch.device) -> None:
        """Open the decoder and start the threads; torch's own are to be set before.

        Args:
            signature: Of the archive.
            options: What the operator set.
            device: Where the net runs.
        """
        cores = len(os.sched_getaffinity(0))
        on_cuda = device.type == "cuda"
        choice = choose_decoder(options.decoder, device)
        threads = options.decode_threads or decode_threads_for(cores)
        self.decoder = choice.name
        self.decoder_reasons = choice.reasons
        self._buckets = signature.buckets
        self._overlapping = overlaps(cores, torch.get_num_threads(), on_cuda=on_cuda)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._preparer = Preparer(signature.recipe, options.limits, pool, pin=on_cuda, decoder=choice)

    def begin(self, items: Sequence[Item]) -> Stages:
        """Begin to decode items; the first input is waited for when it is asked for."""
        sizes = stages(len(items), self._buckets, overlapping=self._overlapping)
        return Stages(lambda: self._preparer.in_stages(items, sizes))
