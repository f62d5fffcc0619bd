"""`python -m loadtests.bench_experiments`: what an experiment adds to a call, for a lone caller.

The same model is called directly and through experiments in turns, so that a machine that becomes slower or
busier shows in both. Records are written meanwhile, as they always are; what that costs shows against the
calls that were made alone, before any experiment was called.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final

import grpc
import httpx
import typer
from rich.table import Table

from loadtests.bench import archives
from loadtests.bench.photos import photos
from loadtests.console import wide
from loadtests.machine import Machine
from loadtests.soak import fakes
from loadtests.stack import StackError, Target, end_in_order, running_stack
from loadtests.traffic.wire import length_prefixed
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

SIDE: Final = 32  # of the images, in pixels
IMAGES: Final = 64
TIMEOUT_S: Final = 60.0
MANY: Final = 1000
MIRRORED: Final = frozenset({"shadow", "paired"})
MOST_RATIO: Final = 1.02
ALONE: Final = "directly, alone"
DIRECT: Final = "directly"
# Between two calls: back to back, where all that runs is warm, and with pauses, where nothing is.
PAUSES_S: Final = (0.0, 0.01)

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: Each with a median of its own.
        calls: Of every way of calling in a round.
        many: Experiments that are configured in the second half.
    """

    rounds: int = 10
    calls: int = 200
    many: int = MANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What stands behind the gateway.

    Attributes:
        name: For the table.
        models: The one that is called, and another one to mirror to.
        settings: Of the gateway.
        command: That starts it; empty: the ordinary one.
    """

    name: str
    models: tuple[str, str]
    settings: Mapping[str, str]
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of calling, and what came of it: seconds of every call, one list a round."""

    name: str
    pause_s: float
    configured: int
    rounds: tuple[tuple[float, ...], ...]

    def quantiles_ms(self, share: float) -> list[float]:
        """A quantile of each round, in milliseconds."""
        return [1e3 * _quantile(calls, share) for calls in self.rounds]

    def ratio(self, to: Way) -> float:
        """Of the medians of a round to those of another way in the same round; the middle one."""
        pairs = zip(self.quantiles_ms(0.5), to.quantiles_ms(0.5), strict=True)
        return statistics.median(one / other for one, other in pairs)


def main(
    *, quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds, and a fake engine only.")] = False
) -> None:
    """Measure what experiments cost. Takes about ten minutes; nothing else should run meanwhile."""
    try:
        for engine in _engines(quick=quick):
            with console.status(f"{engine.name}: starting") as status:
                ways = measure(engine, QUICK if quick else Plan(), status.update)
            show(engine, ways)
    except (StackError, httpx.HTTPError, subprocess.CalledProcessError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    machine = Machine.here()
    console.print(f"{machine.processor}, {machine.cores} cores; Python {machine.python}; {machine.date}")


QUICK: Final = Plan(rounds=3, calls=60, many=50)


def measure(engine: Engine, plan: Plan, say: Callable[[str], None]) -> list[Way]:
    """Start a gateway, call it in every way, end it."""
    with (
        tempfile.TemporaryDirectory(prefix="attnserve-bench-") as name,
        running_stack(Path(name), engine.settings, engine.command) as stack,
        httpx.Client(base_url=stack.target.http, timeout=TIMEOUT_S, trust_env=False) as rest,
    ):
        control, other = engine.models
        directly, split = {DIRECT: control}, {DIRECT: control, "split": "split"}
        start(rest, "split", design("split", control, control))
        for mode in sorted(MIRRORED):
            start(rest, mode, design(mode, control, other))
        wait_for(rest, max(MIRRORED))
        caller = Caller(stack.target, plan, say)
        ways = [*caller.ways({ALONE: control}, 1), *caller.ways(split, 1)]
        for mode in sorted(MIRRORED):
            ways += caller.ways({**directly, mode: mode}, 1)
        for number in range(plan.many - 1):
            say(f"{engine.name}: {number} of {plan.many} experiments")
            start(rest, f"bench-{number}", design("split", control, control))
        wait_for(rest, f"bench-{plan.many - 2}")
        return [*ways, *caller.ways(split, plan.many)]


def start(rest: httpx.Client, name: str, design: Mapping[str, Any]) -> None:
    """Create an experiment and start it."""
    rest.post("/v1/experiments", json={"name": name, "reason": "bench", **design}).raise_for_status()
    rest.post(f"/v1/experiments/{name}:start", json={"reason": "bench"}).raise_for_status()


def show(engine: Engine, ways: Sequence[Way]) -> None:
    """Print the table, and how the goals were met."""
    columns = ("called", "pause", "experiments", "p50 ms", "least", "most", "p99 ms", "p50 to direct")
    table = Table(*columns, title=f"{engine.name}, one caller, medians over {len(ways[0].rounds)} rounds")
    direct: dict[float, Way] = {}
    ratios: dict[tuple[float, int], float] = {}
    for way in ways:
        ratio = ""
        if way.name in {ALONE, DIRECT}:
            direct[way.pause_s] = way
        else:
            against = way.ratio(direct[way.pause_s])
            ratio = f"{against:.3f}"
            if way.name not in MIRRORED:
                ratios[way.pause_s, way.configured] = against
        p50, p99 = way.quantiles_ms(0.5), way.quantiles_ms(0.99)
        figures = (statistics.median(p50), min(p50), max(p50), statistics.median(p99))
        cells = [f"{figure:.3f}" for figure in figures]
        table.add_row(way.name, f"{1e3 * way.pause_s:g} ms", str(way.configured), *cells, ratio)
    console.print(table)
    for pause_s in PAUSES_S:
        few, many = (ratio for (pause, _), ratio in ratios.items() if pause == pause_s)
        _judge(f"pauses of {1e3 * pause_s:g} ms: an experiment adds to p50", few)
        _judge(f"pauses of {1e3 * pause_s:g} ms: more experiments add to that", many / few)


def _judge(what: str, ratio: float) -> None:
    mark = "reached" if ratio < MOST_RATIO else "not reached"
    console.print(f"{what}: {100 * (ratio - 1):+.1f} % (goal: under {100 * (MOST_RATIO - 1):.0f} %, {mark})")


def _engines(*, quick: bool) -> Iterator[Engine]:
    first, second = (model.name for model in fakes.MODELS[:2])
    command = (sys.executable, "-m", "loadtests.soak.fakes")
    yield Engine(name="fake engine of 2 ms", models=(first, second), settings={}, command=command)
    if not quick:
        store = Path("run/bench/archives")
        models = (archives.TINY, "digits_eca")
        archives.prepare(store, models)
        settings = {"ATTNSERVE_MODEL_STORE": str(store), "ATTNSERVE_MODELS": json.dumps(models)}
        yield Engine(name=f"TorchServe with {models[0]}", models=models, settings=settings)


def design(mode: str, control: str, other: str) -> dict[str, Any]:
    """The document of an experiment on two models, as `POST /v1/experiments` takes it."""
    weight = {} if mode == "shadow" else {"weight": 5000}
    arms = [
        {"name": name, "model": model, "version": "1", **weight}
        for name, model in (("control", control), ("arm", other))
    ]
    return {"mode": mode, "arms": arms}


def wait_for(rest: httpx.Client, name: str) -> None:
    """Wait until an experiment is in force."""
    ends = time.monotonic() + TIMEOUT_S
    while rest.get(f"/v1/experiments/{name}/assign?unit=u").json()["version"] < 2:  # noqa: PLR2004  started
        if time.monotonic() > ends:
            raise StackError(f"experiment {name} is not in force")
        time.sleep(0.1)


class Caller:
    """A lone caller: one call at a time."""

    def __init__(self, target: Target, plan: Plan, say: Callable[[str], None]) -> None:
        """Call nobody yet."""
        self._target = target
        self._plan = plan
        self._say = say
        self._images = photos(IMAGES, (SIDE, SIDE))
        self._numbers = count()
        self._chance = random.Random(0)

    def ways(self, names: Mapping[str, str], configured: int) -> Iterator[Way]:
        """Call in several ways in turns.

        Args:
            names: Way -> model or experiment.
            configured: So many experiments as that the gateway has.
        """
        with grpc.insecure_channel(self._target.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)
            for pause_s in PAUSES_S:
                self._round(stub, names, pause_s)  # warms up
                rounds = []
                for number in range(self._plan.rounds):
                    self._say(f"{', '.join(names)}: round {number + 1} of {self._plan.rounds}")
                    rounds.append(self._round(stub, names, pause_s))
                for way in names:
                    calls = tuple(tuple(one[way]) for one in rounds)
                    yield Way(name=way, pause_s=pause_s, configured=configured, rounds=calls)

    def _round(
        self, stub: GRPCInferenceServiceStub, names: Mapping[str, str], pause_s: float
    ) -> dict[str, list[float]]:
        requests = {way: self._requests(name) for way, name in names.items()}
        found: dict[str, list[float]] = {way: [] for way in names}
        # A mirrored call still runs while the next one is made, which must not be one of another way.
        turns = self._plan.calls if MIRRORED.isdisjoint(names) else 1
        for turn in range(turns):
            for way, choice in requests.items():
                for number in range(self._plan.calls // turns):
                    request = choice[(turn + number) % len(choice)]
                    found[way].append(_timed(stub, request, next(self._numbers)))
                    # Not always as long, or what runs at fixed intervals would meet one way only.
                    time.sleep(pause_s * self._chance.uniform(0.5, 1.5))
        return found

    def _requests(self, model: str) -> list[pb.ModelInferRequest]:
        requests = []
        for image in self._images:
            request = pb.ModelInferRequest(model_name=model, raw_input_contents=[length_prefixed([image])])
            request.inputs.add(name="image", datatype="BYTES", shape=[1])
            requests.append(request)
        return requests


def _timed(stub: GRPCInferenceServiceStub, request: pb.ModelInferRequest, number: int) -> float:
    begun = time.perf_counter()
    stub.ModelInfer(request, timeout=TIMEOUT_S, metadata=(("x-unit-id", f"unit-{number}"),))
    return time.perf_counter() - begun


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
