"""A gateway that is made up: its batches follow the gateway's own rule, its times are known."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtests.exchange import GRPC, Exchange
from loadtests.exchanges import Exchanges
from loadtests.outcome import ModelCounters, Phase, Run, Slo, Snapshot
from loadtests.report.document import Report
from loadtests.report.steps import steps
from serve.core.batching import Limits, Queue, Release, Slots, decide

MODEL: Final = "digits_se"
BEGAN: Final = 1_700_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Its times are milliseconds.

    Attributes:
        alpha_ms: Of a batch.
        beta_ms: Of an image in it.
        spread: Of the logarithm of the time of a batch.
        way_ms: Between the gateway and the worker, one way.
        outside_ms: Of each request outside of the gateway.
        workers: Batches that run at once.
        stall: When a batch that would begin then begins.
    """

    alpha_ms: float
    beta_ms: float
    spread: float = 0.3
    way_ms: float = 0.0
    outside_ms: float = 0.0
    workers: int = 1
    limits: Limits = field(default_factory=lambda: Limits(max_batch=16, max_queue_images=10**9))
    stall: Callable[[float], float] = lambda begin: begin


@dataclass(slots=True, kw_only=True)
class Trace:
    """What happened: of every request its end, of every batch its begin, size and time in the worker."""

    ended_ms: list[float]
    begun_ms: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    handler_ms: list[float] = field(default_factory=list)


def operate(system: System, at_ms: list[float], random: np.random.Generator) -> Trace:
    """Run requests of one image through the system, event by event, asking `decide` after each."""
    trace = Trace(ended_ms=[0.0] * len(at_ms))
    events = [(at, number, -1) for number, at in enumerate(at_ms)]  # an arrival; else the end of a batch
    heapq.heapify(events)
    waiting: list[int] = []
    free, running = [0.0] * system.workers, 0
    while events:
        now, number, end = heapq.heappop(events)
        running -= end >= 0
        if end < 0:
            waiting.append(number)
        while waiting and isinstance(found := _decide(system, at_ms, waiting, running, now), Release):
            batch, waiting = waiting[: found.images], waiting[found.images :]
            time = float(np.exp(system.spread * random.standard_normal() - system.spread**2 / 2))
            time *= system.alpha_ms + system.beta_ms * len(batch)
            begin = system.stall(max(now + system.way_ms, free[0]))
            heapq.heapreplace(free, begin + time)
            back = begin + time + system.way_ms
            for request in batch:
                trace.ended_ms[request] = back + system.outside_ms
            trace.begun_ms.append(begin)
            trace.sizes.append(len(batch))
            trace.handler_ms.append(time)
            running += 1
            heapq.heappush(events, (back, len(at_ms) + len(trace.sizes), len(batch)))
    return trace


def _decide(system: System, at_ms: list[float], waiting: list[int], running: int, now: float) -> object:
    slots = Slots(
        idle=max(0, system.workers - running),
        busy=min(system.workers, running),
        ahead=max(0, running - system.workers),
    )
    queue = Queue(images=len(waiting), oldest=at_ms[waiting[0]], deadline=float("inf"))
    return decide(queue, slots, system.limits, now)


def poisson(rates: tuple[float, ...], seconds: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Arrivals in milliseconds, each rate for so many seconds."""
    parts = []
    for number, rate in enumerate(rates):
        count = random.poisson(rate * seconds)
        parts.append(np.sort(1e3 * (number + random.random(count)) * seconds))
    return np.concatenate(parts)


def load_test(
    system: System, rates: tuple[float, ...], *, seconds: float = 20.0, p99_ms: float = 100.0, seed: int = 1
) -> tuple[Run, Report]:
    """A load test of the system with steps of these rates."""
    random = np.random.default_rng(seed)
    at_ms = poisson(rates, seconds, random)
    trace = operate(system, at_ms.tolist(), random)
    due, ended = BEGAN + at_ms / 1e3, BEGAN + np.array(trace.ended_ms) / 1e3
    exchanges = Exchanges.of(
        Exchange(
            due=one, sent=one, ended=end, way=GRPC, kind="one image", model=MODEL, served=MODEL, outcome="ok"
        )
        for one, end in zip(due.tolist(), ended.tolist(), strict=True)
    )
    phases = tuple(
        Phase(
            name=f"{rate:g} a second",
            begins=BEGAN + number * seconds,
            ends=BEGAN + (number + 1) * seconds,
            load=rate,
        )
        for number, rate in enumerate(rates)
    )
    run = Run(
        scenario="capacity", summary="made up", loop="open", options={}, target="127.0.0.1", began=BEGAN,
        ended=BEGAN + len(rates) * seconds, stopped="", exchanges=exchanges, phases=phases,
        slo=Slo(p99_ms=p99_ms), snapshots=tuple(_snapshots(trace, len(rates) * seconds)),
    )  # fmt: skip
    return run, _report(run)


def _snapshots(trace: Trace, seconds: float) -> Iterator[Snapshot]:
    begun, sizes, times = (np.array(part) for part in (trace.begun_ms, trace.sizes, trace.handler_ms))
    for second in range(int(seconds) + 1):
        before = begun <= 1e3 * second
        counters = ModelCounters(
            batches=float(before.sum()),
            batched_images=float(sizes[before].sum()),
            handler_s=float(times[before].sum()) / 1e3,
            inference_s=float(times[before].sum()) / 1e3,
            inference_batches=float(before.sum()),
        )
        yield Snapshot(at=BEGAN + second, models={MODEL: counters}, gateway_cpu_s=0.0, gateway_rss=0.0)


def _report(run: Run) -> Report:
    return Report(
        scenario="capacity", summary="made up", loop="open", options={}, target="127.0.0.1", began=run.began,
        seconds=run.ended - run.began, stopped="", slo={"p99_ms": run.slo.p99_ms, "failures": 0.01},
        headline=(), warnings=(), rows=(), timeline=(), steps=steps(run),
    )  # fmt: skip
