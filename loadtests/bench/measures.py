"""What is measured: images a second against the limit, added milliseconds for a lone caller, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.bench.archives import REAL, TINY
from loadtests.bench.bare import BareLoop, BareRun
from loadtests.bench.generator import Generator, Load, LoadRun
from loadtests.bench.photos import photos
from loadtests.bench.watch import Spent, Watch
from loadtests.scrape import Scrape, scrape
from loadtests.stack import Target

CALLERS: Final = 32
PHOTO_SIZE: Final = (500, 375)
THUMBNAIL_SIZE: Final = (32, 32)
PHOTOS: Final = 64
IDLE_AFTER_S: Final = 2.0  # connections close, garbage is collected
STAGES: Final = ("queue", "decode", "inference", "encode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: Of bare loop, gateway, bare loop.
        bare_s: Length of a phase of the bare loop.
        load_s: Length of a phase of load on the gateway.
        lone_calls: Calls of a lone caller, per model.
        idle_s: How long nobody asks for anything.
        requests: After how many requests memory is read; the first is the base for growth.
    """

    rounds: int = 5
    bare_s: float = 10.0
    load_s: float = 15.0
    lone_calls: int = 60
    idle_s: float = 10.0
    requests: tuple[int, int] = (1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Bench:
    """The things that measure, and the one that is measured."""

    target: Target
    watch: Watch
    bare: BareLoop
    generator: Generator
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A phase of load on the gateway.

    Attributes:
        run: As the callers saw it.
        spent: CPU time of gateway, Java and workers.
        stages_s: Seconds by stage, as the gateway counts them: of requests for the queue, else of batches.
        batches: How many.
    """

    run: LoadRun
    spent: Spent
    stages_s: dict[str, float]
    batches: int

    @property
    def others_cores(self) -> float:
        """Cores that were busy with neither the service nor the generator."""
        ours = sum(self.spent.cpu_s.values()) + self.run.cpu_s
        return max(0.0, self.spent.machine_s - ours) / self.spent.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Alternating phases: a bare loop before and after every phase of load.

    Attributes:
        bare: One more than `loaded`.
        idle: What the gateway and its engine spent meanwhile, which should be next to nothing.
        loaded: 32 callers, one photograph a request.
    """

    bare: tuple[BareRun, ...]
    idle: tuple[Spent, ...]
    loaded: tuple[Loaded, ...]

    @property
    def others_cores(self) -> float:
        """Most cores that other programs kept busy in any phase, those of the bare loop included."""
        bare = [
            (idle.machine_s - sum(idle.cpu_s.values()) - run.cpu_s) / idle.seconds
            for run, idle in zip(self.bare, self.idle, strict=True)
        ]
        return max(0.0, *bare, *(loaded.others_cores for loaded in self.loaded))

    @property
    def unrest(self) -> float:
        """The bare loop's fastest phase over its slowest: 1 on a machine that is always as fast."""
        rates = [run.rate for run in self.bare]
        return max(rates) / min(rates)

    @property
    def ratios(self) -> list[float]:
        """The gateway's images/s over the mean of the bare loops before and after, per round."""
        pairs = zip(self.bare, self.bare[1:], strict=False)
        limits = [(before.rate + after.rate) / 2 for before, after in pairs]
        return [loaded.run.rate / limit for loaded, limit in zip(self.loaded, limits, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """Concurrency 1, per call, in milliseconds: the whole call, and what is not the handler's own time."""

    model: str
    call_ms: tuple[float, ...]
    added_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The gateway's resident memory in bytes: before the first request, and after some and many.

    Attributes:
        requests: The counts of some and many.
        run: The load that made the many.
    """

    before: int
    after_some: int
    after_many: int
    requests: tuple[int, int]
    run: LoadRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What the service holds and spends while nobody asks for anything.

    Attributes:
        memory: Bytes by role (gateway, Java, worker), with all models loaded and used.
        models: How many.
        spent: CPU time by role.
    """

    memory: Mapping[str, int]
    models: int
    spent: Spent


def measure_throughput(bench: Bench, plan: Plan) -> Throughput:
    """Images a second of the real net."""
    load = Load(grpc=bench.target.grpc, model=REAL, images=photos(PHOTOS, PHOTO_SIZE), callers=CALLERS)
    bench.say(f"{REAL}: warming up")
    bench.generator.for_requests(load, 2 * CALLERS)
    bare: list[BareRun] = []
    idle: list[Spent] = []
    loaded: list[Loaded] = []
    for number in range(plan.rounds):
        _bare_phase(bench, plan, bare, idle)
        bench.say(f"{REAL}: round {number + 1} of {plan.rounds}, through the gateway")
        loaded.append(_loaded_phase(bench, load, plan.load_s))
    _bare_phase(bench, plan, bare, idle)
    return Throughput(bare=tuple(bare), idle=tuple(idle), loaded=tuple(loaded))


def measure_lone(bench: Bench, plan: Plan, model: str) -> Lone:
    """Added milliseconds of a model; the first calls only warm up."""
    bench.say(f"{model}: one caller")
    size = THUMBNAIL_SIZE if model == TINY else PHOTO_SIZE
    load = Load(grpc=bench.target.grpc, model=model, images=photos(PHOTOS, size), callers=1)
    bench.generator.lone_calls(load, plan.lone_calls // 4)
    calls = bench.generator.lone_calls(load, plan.lone_calls)
    return Lone(
        model=model,
        call_ms=tuple(call.call_ms for call in calls),
        added_ms=tuple(call.call_ms - call.handler_ms for call in calls),
    )


def measure_memory(bench: Bench, plan: Plan) -> Memory:
    """The gateway's memory; to be called first, while it is fresh."""
    load = Load(grpc=bench.target.grpc, model=TINY, images=photos(PHOTOS, THUMBNAIL_SIZE), callers=CALLERS)
    some, many = plan.requests
    before = bench.watch.gateway_rss()
    bench.say(f"{TINY}: {many:,} requests")
    bench.generator.for_requests(load, some)
    after_some = bench.watch.gateway_rss()
    run = bench.generator.for_requests(load, many - some)
    return Memory(
        before=before,
        after_some=after_some,
        after_many=bench.watch.gateway_rss(),
        requests=plan.requests,
        run=run,
    )


def measure_idle(bench: Bench, plan: Plan, models: int) -> Idle:
    """Look on while nothing happens; to be called when all models have been used."""
    bench.say("idle")
    time.sleep(IDLE_AFTER_S)
    bench.watch.lap()
    time.sleep(plan.idle_s)
    return Idle(memory=bench.watch.memory(), models=models, spent=bench.watch.lap())


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median and largest."""
    return min(values), statistics.median(values), max(values)


def _bare_phase(bench: Bench, plan: Plan, bare: list[BareRun], idle: list[Spent]) -> None:
    bench.say(f"{REAL}: bare loop")
    bench.watch.lap()
    bare.append(bench.bare.run(plan.bare_s))
    idle.append(bench.watch.lap())


def _loaded_phase(bench: Bench, load: Load, seconds: float) -> Loaded:
    before = scrape(bench.target.metrics)
    bench.watch.lap()
    run = bench.generator.for_seconds(load, seconds)
    spent = bench.watch.lap()
    after = scrape(bench.target.metrics)

    def grown(metric: str, **labels: str) -> float:
        return _total(after, metric, load.model, labels) - _total(before, metric, load.model, labels)

    return Loaded(
        run=run,
        spent=spent,
        stages_s={stage: grown("attnserve_stage_duration_seconds_sum", stage=stage) for stage in STAGES},
        batches=int(grown("attnserve_batch_images_count")),
    )


def _total(page: Scrape, metric: str, model: str, labels: dict[str, str]) -> float:
    return page.total(metric, model=model, **labels)
