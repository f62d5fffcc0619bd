"""The load generator: gRPC callers in a closed loop, in a process of its own so that its cost is known."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle, islice

import grpc
import numpy as np

from loadtests.traffic.grpc_wire import grpc_answer, grpc_request
from loadtests.traffic.questions import Question
from loadtests.traffic.sample import Sample
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

TIMEOUT_S = 60.0


class LoadError(Exception):
    """Nothing can be measured: a reply is wrong, or too few came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send.

    Attributes:
        grpc: host:port of the gateway.
        model: Name.
        images: Encoded; taken in turn.
        callers: Concurrent ones, each with a connection of its own.
        together: Images in a request.
    """

    grpc: str
    model: str
    images: tuple[bytes, ...]
    callers: int
    together: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """What came of it.

    Attributes:
        requests: Answered in all, with those after the end of the window; every answer was rightly formed.
        rate: Answers a second within the window.
        mean_ms: Of a call, as its caller sees it.
        median_ms: Likewise.
        p99_ms: Likewise.
        cpu_s: CPU time of the generator's process.
    """

    requests: int
    rate: float
    mean_ms: float
    median_ms: float
    p99_ms: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneCall:
    """A call with nobody else about, in milliseconds: all of it, and the handler's share."""

    call_ms: float
    handler_ms: float


@dataclass(slots=True)
class AnswerLog:
    """When each answer came, and how long it took, in seconds; and when the first caller stopped asking."""

    ended: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    closed: float = math.inf

    def run(self, cpu_s: float) -> LoadRun:
        """What they amount to, with the CPU time of the process that asked.

        Raises:
            LoadError: There are too few for a rate.
        """
        ended = [when for when in self.ended if when <= self.closed]
        took_ms = 1e3 * np.array(self.took[: len(ended)])
        return LoadRun(
            requests=len(self.ended),
            rate=steady_rate(ended),
            mean_ms=float(took_ms.mean()),
            median_ms=float(np.median(took_ms)),
            p99_ms=float(np.percentile(took_ms, 99)),
            cpu_s=cpu_s,
        )


def steady_rate(ended: list[float]) -> float:
    """Answers a second: the slope of the line through the number of answers over time (least squares).

    Answers come a batch at a time, so a plain count depends on whether the window's ends cut a batch off; the
    slope does not.

    Args:
        ended: Seconds, ascending.

    Raises:
        LoadError: There are not two different ones.
    """
    if not ended or ended[0] == ended[-1]:
        raise LoadError(f"{len(ended)} answers came within the window, too few for a rate: make it longer")
    times = np.array(ended) - ended[0]
    return float(np.polyfit(times, np.arange(len(times)), 1)[0])


class Generator:
    """A handle on the generator's process."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def for_seconds(self, load: Load, seconds: float) -> LoadRun:
        """Keep every caller asking for so long, and until each has had two answers on average.

        Answers that come later count for costs, not for the rate.
        """
        return self._process.submit(_for_seconds, load, seconds).result()

    def for_requests(self, load: Load, requests: int) -> LoadRun:
        """Send so many requests in all."""
        return self._process.submit(_for_requests, load, requests).result()

    def lone_calls(self, load: Load, calls: int) -> list[LoneCall]:
        """Call one by one; the handler's share is read from the statistics extension after each call."""
        return self._process.submit(_lone_calls, load, calls).result()


@contextmanager
def generator() -> Iterator[Generator]:
    """Start the process; it is idle between two runs."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(time.process_time).result()
        yield Generator(process)


def _for_seconds(load: Load, seconds: float) -> LoadRun:
    cpu = time.process_time()
    ends = time.perf_counter() + seconds
    least = 2 * load.callers
    log = AnswerLog()
    asyncio.run(_closed_loop(load, log, lambda: time.perf_counter() < ends or len(log.ended) < least))
    return log.run(time.process_time() - cpu)


def _for_requests(load: Load, requests: int) -> LoadRun:
    cpu = time.process_time()
    numbers = count()
    log = AnswerLog()
    asyncio.run(_closed_loop(load, log, lambda: next(numbers) < requests))
    return log.run(time.process_time() - cpu)


def _lone_calls(load: Load, calls: int) -> list[LoneCall]:
    return asyncio.run(_one_by_one(load, calls))


async def _closed_loop(load: Load, log: AnswerLog, go_on: Callable[[], bool]) -> None:
    requests = _requests(load)
    numbers = count()

    async def caller() -> None:
        async with _stub(load) as stub:
            while go_on():
                log.took.append(await _timed(stub, requests[next(numbers) % len(requests)]))
                log.ended.append(time.perf_counter())
        log.closed = min(log.closed, time.perf_counter())

    async with asyncio.TaskGroup() as group:
        for _ in range(load.callers):
            group.create_task(caller())


async def _one_by_one(load: Load, calls: int) -> list[LoneCall]:
    found = []
    requests = _requests(load)
    async with _stub(load) as stub:
        before = await _handler_ns(stub, load.model)
        for number in range(calls):
            took = await _timed(stub, requests[number % len(requests)])
            after = await _handler_ns(stub, load.model)
            found.append(LoneCall(call_ms=1e3 * took, handler_ms=(after - before) / 1e6))
            before = after
    return found


@asynccontextmanager
async def _stub(load: Load) -> AsyncIterator[GRPCInferenceServiceStub]:
    # A connection for each caller: in one process they would share one otherwise.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(load.grpc, options=options) as channel:
        yield GRPCInferenceServiceStub(channel)


def _requests(load: Load) -> list[pb.ModelInferRequest]:
    samples = cycle(Sample(name="photo", label="", encoded=image) for image in load.images)
    return [
        grpc_request(Question(request_id="", model=load.model, samples=tuple(islice(samples, load.together))))
        for _ in load.images
    ]


async def _timed(stub: GRPCInferenceServiceStub, request: pb.ModelInferRequest) -> float:
    """Seconds that a call took."""
    started = time.perf_counter()
    response = await stub.ModelInfer(request, timeout=TIMEOUT_S)
    seconds = time.perf_counter() - started
    if not np.isfinite(grpc_answer(response).probabilities).all():
        raise LoadError(f"model {request.model_name!r} answered with values that are not finite")
    return seconds


async def _handler_ns(stub: GRPCInferenceServiceStub, model: str) -> int:
    """Nanoseconds that the handler has spent on that model's requests since the gateway's start."""
    response = await stub.ModelStatistics(pb.ModelStatisticsRequest(name=model), timeout=TIMEOUT_S)
    stats = response.model_stats[0].inference_stats
    return int(stats.compute_input.ns + stats.compute_infer.ns + stats.compute_output.ns)
