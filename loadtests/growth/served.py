"""Sweeps through a gateway: images in a request, callers, models, experiments."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from loadtests.bench import archives
from loadtests.bench.generator import Generator, Load, LoadRun, generator
from loadtests.bench.goal import Spread
from loadtests.bench.measures import PHOTO_SIZE, PHOTOS, THUMBNAIL_SIZE
from loadtests.bench.photos import photos
from loadtests.bench.watch import GATEWAY, Watch
from loadtests.bench_experiments import start, wait_for
from loadtests.growth.bare import Say
from loadtests.growth.laws import Bounds, Line, little
from loadtests.growth.plan import Plan
from loadtests.growth.sweep import Curve, Law, Sweep, curve
from loadtests.soak import fakes
from loadtests.stack import Stack, running_stack
from model_store.build import Order, build_untrained

TIMEOUT_S: Final = 120.0
_CALLERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A gateway, and who asks it."""

    stack: Stack
    load: Generator
    rest: httpx.Client

    def of(self, model: str, size: tuple[int, int], callers: int = 1, together: int = 1) -> Load:
        """Load on a model: photographs of that size."""
        images = photos(PHOTOS, size)
        grpc = self.stack.target.grpc
        return Load(grpc=grpc, model=model, images=images, callers=callers, together=together)


@contextmanager
def bench(settings: dict[str, str], command: tuple[str, ...] = ()) -> Iterator[Bench]:
    """Start a gateway and a generator."""
    with (
        tempfile.TemporaryDirectory(prefix="attnserve-growth-") as folder,
        running_stack(Path(folder), settings, command) as stack,
        generator() as load,
        httpx.Client(base_url=stack.target.http, timeout=TIMEOUT_S, trust_env=False) as rest,
    ):
        yield Bench(stack=stack, load=load, rest=rest)


def requests_and_callers(store: Path, plan: Plan, say: Say) -> list[Sweep]:
    """Images in a request of a lone caller, and concurrent callers with one image each, on the same net."""
    settings = {
        "ATTNSERVE_MODEL_STORE": str(store),
        "ATTNSERVE_MODELS": json.dumps([archives.REAL]),
    }
    with bench(settings) as found:
        say("served: warming up")
        found.load.for_requests(found.of(archives.REAL, PHOTO_SIZE, callers=32), 64)
        requests, line = _request_sizes(found, plan, say)
        bounds = Bounds(alone_s=requests.curves[0].medians[0] / 1e3, demand_s=line.c / 1e3)
        return [requests, _callers(found, bounds, plan, say)]


def _request_sizes(found: Bench, plan: Plan, say: Say) -> tuple[Sweep, Line]:
    times: dict[int, list[float]] = {batch: [] for batch in plan.batches}
    for number in range(plan.rounds):
        for batch, values in times.items():
            say(f"images in a request: {batch}, round {number + 1} of {plan.rounds}")
            load = found.of(archives.REAL, PHOTO_SIZE, together=batch)
            calls = found.load.lone_calls(load, max(1, plan.calls // (plan.rounds * batch)))
            values.append(Spread.of(call.call_ms for call in calls).median)
    spreads = [Spread.of(values) for values in times.values()]
    line = Line.through(plan.batches, [one.median for one in spreads])
    says = f"t = a + c b = {line.a:.1f} + {line.c:.1f} b ms"
    sweep = Sweep(
        name="request",
        title=f"Images in a request: {archives.REAL} through the gateway, JPEG, one caller",
        over="images in a request",
        at=plan.batches,
        curves=(curve("time of a request", "ms", spreads, Law(says=says, line=line.at), plan.batches),),
    )
    return sweep, line


def _callers(found: Bench, bounds: Bounds, plan: Plan, say: Say) -> Sweep:
    runs: dict[int, list[LoadRun]] = {callers: [] for callers in plan.callers}
    for number in range(plan.phases):
        for callers, kept in runs.items():
            say(f"callers: {callers}, round {number + 1} of {plan.phases}")
            load = found.of(archives.REAL, PHOTO_SIZE, callers=callers)
            kept.append(found.load.for_seconds(load, plan.phase_s))
    return callers_sweep(runs, bounds)


def callers_sweep(runs: dict[int, list[LoadRun]], bounds: Bounds) -> Sweep:
    """Throughput and latency over callers, with the bounds of operational analysis and Little's law."""
    at = tuple(runs)
    each = list(runs.values())
    rates = Law(
        says=f"X <= min(N / R, 1 / D), R = {1e3 * bounds.alone_s:.1f} ms, "
        f"D = {1e3 * bounds.demand_s:.1f} ms, knee at {bounds.knee:.1f} callers",
        line=bounds.rate,
        bound=True,
    )
    times = Law(says="R(N) >= max(R, N D)", line=lambda n: 1e3 * bounds.response_s(n), bound=True)
    balance = Law(says="Little's law: N = X R", line=float)
    products = [Spread.of(little(run.rate, run.mean_ms / 1e3) for run in runs) for runs in each]
    return Sweep(
        name="callers",
        title=f"Callers: {archives.REAL} through the gateway, JPEG, closed loop",
        over="callers",
        at=at,
        curves=(
            curve(
                "throughput", "images/s", [Spread.of(run.rate for run in runs) for runs in each], rates, at
            ),
            curve("p50", "ms", [Spread.of(run.median_ms for run in runs) for runs in each], times, at),
            Curve(name="p99", unit="ms", found=tuple(Spread.of(run.p99_ms for run in runs) for runs in each)),
            curve("throughput times mean time", "callers", products, balance, at),
        ),
        remarks=(
            "D is the slope of the line of images in a request, R its first place: both measured before.",
            "Little's law is for a system in balance: the first calls of a phase find no queue.",
        ),
    )


def models(store: Path, plan: Plan, say: Say) -> Sweep:
    """Memory of all processes, and a lone caller's latency, while more and more models are loaded."""
    names = [f"growth_{number}" for number in range(max(plan.models))]
    for name in names:
        say(f"models: building {name}")
        build_untrained(archives.TINY, None, Order(name=name), store)
    settings = {"ATTNSERVE_MODEL_STORE": str(store), "ATTNSERVE_MODELS": json.dumps(names[:1])}
    memory, latency = [], []
    with bench(settings) as found:
        watch = Watch(found.stack.pid)
        loaded = 1
        for count in plan.models:
            for name in names[loaded:count]:
                say(f"models: loading {name} of {len(names)}")
                found.rest.post(f"/v2/repository/models/{name}/load").raise_for_status()
            loaded = count
            for name in names[:count]:
                found.load.for_requests(found.of(name, THUMBNAIL_SIZE, callers=_CALLERS), 10 * _CALLERS)
            memory.append(Spread.of([sum(watch.memory().values()) / 1e6]))
            calls = found.load.lone_calls(found.of(names[0], THUMBNAIL_SIZE), plan.calls)
            latency.append(Spread.of(call.call_ms for call in calls))
    line = Line.through(plan.models, [one.median for one in memory])
    level = Line.constant([one.median for one in latency])
    says = f"{line.a:.0f} + {line.c:.0f} m MB: a worker process for each model"
    return Sweep(
        name="models",
        title=f"Models: {archives.TINY} under other names, a worker each",
        over="models loaded",
        at=plan.models,
        curves=(
            curve("memory of all processes", "MB", memory, Law(says=says, line=line.at), plan.models),
            curve(
                "call of a lone caller",
                "ms",
                latency,
                Law(says=f"constant: {level.a:.2f} ms", line=level.at),
                plan.models,
            ),
        ),
    )


def experiments(plan: Plan, say: Say) -> Sweep:
    """CPU time of the gateway for a request to an experiment, while more and more experiments run."""
    cpu, latency = [], []
    control, other = (model.name for model in fakes.MODELS[:2])
    with bench({}, (sys.executable, "-m", fakes.__name__)) as found:
        watch = Watch(found.stack.pid)
        running = 0
        for count in plan.experiments:
            for number in range(running, count):
                say(f"experiments: {number + 1} of {max(plan.experiments)}")
                start(found.rest, f"growth-{number}", _split(control, other))
            running = count
            wait_for(found.rest, f"growth-{count - 1}")
            load = found.of("growth-0", THUMBNAIL_SIZE, callers=_CALLERS)
            found.load.for_requests(load, plan.requests // 2)
            costs, middles = [], []
            for _ in range(plan.rounds):
                watch.lap()
                run = found.load.for_requests(load, plan.requests)
                costs.append(1e3 * watch.lap().cpu_s[GATEWAY] / plan.requests)
                middles.append(run.median_ms)
            cpu.append(Spread.of(costs))
            latency.append(Spread.of(middles))
    return _experiments_sweep(plan, cpu, latency)


def _experiments_sweep(plan: Plan, cpu: list[Spread], latency: list[Spread]) -> Sweep:
    levels = [Line.constant([one.median for one in found]) for found in (cpu, latency)]
    return Sweep(
        name="experiments",
        title="Experiments: the gateway before a fake engine, requests to one of those that run",
        over="experiments running",
        at=plan.experiments,
        curves=tuple(
            curve(name, "ms", found, Law(says=f"constant: {level.a:.2f} ms", line=level.at), plan.experiments)
            for name, found, level in (
                ("CPU of the gateway for a request", cpu, levels[0]),
                (f"p50 of {_CALLERS} callers", latency, levels[1]),
            )
        ),
        remarks=("With the fake engine's own share, and that of the records that experiments keep.",),
    )


def _split(control: str, other: str) -> dict[str, Any]:
    arms = [
        {"name": name, "model": model, "version": "1", "weight": 5000}
        for name, model in (("control", control), ("arm", other))
    ]
    return {"mode": "split", "arms": arms}
