"""CUDA graphs: all kernels of one forward pass, launched as one, for each batch size where that is faster.

A graph replays what was recorded: the same kernels on the same addresses. So each batch size has an input of
its own, into which a batch is copied, and an output that the next replay overwrites, from which it is copied
(PyTorch's notes "CUDA semantics", section "CUDA Graphs"; Gray, "Getting Started with CUDA Graphs", 2019).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor

MIN_GAIN: Final = 1.03  # a graph holds memory: it stays only where it is so much faster
MAX_DIFFERENCE: Final = 0.01  # of the largest logit; a graph runs the same kernels, in the same precision
_ROUNDS: Final = 15
_WARM_UP_RUNS: Final = 3

Forward: TypeAlias = Callable[[Tensor], Tensor]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Work that was recorded: `replay` does it again, and leaves what it gives in `output`."""

    replay: Callable[[], None]
    output: Tensor


class Recorder(Protocol):
    """What recording needs of a device; tests bring one that needs no GPU."""

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Record work; RuntimeError when it cannot be."""

    def seconds(self, work: Callable[[], object]) -> float:
        """How long work takes, from the call until the device is done."""


class BucketGraph:
    """The forward pass of one batch size, recorded."""

    def __init__(self, forward: Forward, x: Tensor, recorder: Recorder) -> None:
        """Record `forward` on x [B,3,H,W], which belongs to the graph from now on."""
        self._x = x
        self._recording = recorder.record(lambda: forward(x))
        self._lock = Lock()

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [N,K] of x [N,3,H,W], N at most B, as a tensor of its own."""
        rows = len(x)
        # Copy, replay and copy go to one stream in this order; the lock keeps two callers' from mingling.
        with self._lock:
            self._x[:rows].copy_(x)
            self._x[rows:].zero_()
            self._recording.replay()
            return self._recording.output[:rows].clone()


class CudaRecorder:
    """Records on a GPU: on a stream beside the default one, as capture demands, into one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch's lack
        # One pool for all batch sizes: only one graph runs at a time, and none reads what another left there.
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """See `Recorder`; work runs a few times before, so that libraries have allocated what they need."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP_RUNS):
                work()
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads of the worker ask of CUDA meanwhile is no error.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            output = work()
        return Recording(replay=graph.replay, output=output)

    def seconds(self, work: Callable[[], object]) -> float:
        """See `Recorder`."""
        torch.cuda.synchronize(self._device)
        started = perf_counter()
        work()
        torch.cuda.synchronize(self._device)
        return perf_counter() - started


@torch.inference_mode()
def record_buckets(
    forward: Forward, buckets: Sequence[int], sample: Callable[[int], Tensor], recorder: Recorder
) -> dict[int, BucketGraph]:
    """Record each batch size, from the largest on, whose memory the smaller ones use again.

    Args:
        forward: The net, which has run with each batch size before.
        buckets: Batch sizes.
        sample: Makes an input of a batch size, on the device: [B,3,H,W].
        recorder: What records.

    Returns:
        A graph for each size where it gives the same logits and is at least MIN_GAIN times as fast. The log
        says why other sizes have none.
    """
    graphs = {}
    for size in sorted(buckets, reverse=True):
        try:
            graph = BucketGraph(forward, sample(size), recorder)
            refusal = _refusal(forward, graph, sample(size), recorder)
        except RuntimeError as error:
            refusal = f"it cannot be recorded: {str(error).partition(chr(10))[0]}"
        if refusal is None:
            graphs[size] = graph
        else:
            _log.info("no CUDA graph for batches of %d: %s", size, refusal)
    return graphs


def _refusal(forward: Forward, graph: BucketGraph, x: Tensor, recorder: Recorder) -> str | None:
    """Why a graph is not worth keeping; None: it is."""
    expected = forward(x).float()
    difference = float((graph(x).float() - expected).abs().max())
    if not difference <= MAX_DIFFERENCE * float(expected.abs().max()):
        return f"its logits differ by {difference:.3g}"
    # One after the other, so that both meet the same clock rates.
    rounds = [
        (recorder.seconds(lambda: forward(x)), recorder.seconds(lambda: graph(x))) for _ in range(_ROUNDS)
    ]
    eager, replayed = (median(times) for times in zip(*rounds, strict=True))
    if eager < MIN_GAIN * replayed:
        return f"it takes {replayed * 1e3:.3g} ms, without {eager * 1e3:.3g}"
    return None
