"""`python -m loadtests.bench_engine`: what TorchServe itself costs an image, by images in a packed request.

TorchServe as the gateway supervises it, with a handler that does nothing, so that what is left is the way
there and back: gRPC, Java, the worker's socket. CPU time of Java, of the worker and of the caller, for each
number of images that share one request and each set of Java options. The sizes take turns, the options do
not: Java has to be started anew for each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import psutil
import structlog
import typer
import yaml
from rich.table import Table

from loadtests.console import wide
from loadtests.machine import Machine
from serve.engines.torchserve_link import ChannelOptions, Link
from serve.pb.torchserve_inference_pb2 import PredictionsRequest
from serve.pb.torchserve_inference_pb2_grpc import InferenceAPIsServiceStub
from serve.pb.torchserve_management_pb2 import RegisterModelRequest
from serve.pb.torchserve_management_pb2_grpc import ManagementAPIsServiceStub
from serve.supervisor import Supervisor
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS
from serve.torchserve_process import Launch

MODEL: Final = "nothing"
# One that runs and one that waits, as the gateway keeps them.
IN_FLIGHT: Final = 2
TIMEOUT_S: Final = 60.0
MAX_BYTES: Final = 256 << 20
_HANDLER: Final = """
class Nothing:
    def initialize(self, ctx):
        pass

    def handle(self, data, ctx):
        return [b"x" * 64 * len(row) for row in data]
"""
_MANIFEST: Final = {
    "runtime": "python",
    "archiverVersion": "0.12.0",
    "model": {
        "modelName": MODEL,
        "modelVersion": "1",
        "handler": "nothing.py",
        "configFile": "model-config.yaml",
    },
}
_CONFIG: Final = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 1}
# Title -> options; the first are those that the gateway gives it.
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "as supervised: SerialGC, first compiler tier": DEFAULT_JAVA_OPTIONS,
    "SerialGC, all compiler tiers": ("-XX:+UseSerialGC", "-Xmx1g"),
    "Java's own choice": ("-Xmx1g",),
}

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One setting, the median of its rounds.

    Attributes:
        options: Title of the Java options.
        images: In a request.
        rate: Images a second.
        java_ms, worker_ms, caller_ms: CPU time for an image, in milliseconds.
    """

    options: str
    images: int
    rate: float
    java_ms: float
    worker_ms: float
    caller_ms: float


def main(
    *,
    image_bytes: Annotated[int, typer.Option("--bytes", help="Size of an image.", min=1)] = 55_000,
    rounds: Annotated[int, typer.Option(help="Turns of each number of images.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Of one turn.", min=0.1)] = 1.5,
    images: Annotated[list[int] | None, typer.Option(help="In a request; repeat for several.", min=1)] = None,
    file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """Measure the way to a TorchServe worker and back."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sizes = tuple(images or (1, 2, 4, 8, 16, 32))
    plan = Plan(image_bytes=image_bytes, rounds=rounds, seconds=seconds, sizes=sizes)
    costs = [cost for title in OPTIONS for cost in asyncio.run(_measure(title, plan))]
    table = Table(
        *("Java", "images a request", "images/s", "CPU ms an image: Java", "worker", "caller"),
        title=f"{image_bytes:,} bytes an image, {IN_FLIGHT} requests in flight, medians of {rounds}",
    )
    for cost in costs:
        figures = (f"{value:.2f}" for value in (cost.java_ms, cost.worker_ms, cost.caller_ms))
        table.add_row(cost.options, str(cost.images), f"{cost.rate:.0f}", *figures)
    console.print(table)
    machine = Machine.here()
    console.print(f"{machine.processor}, {machine.cores} cores; {machine.date}")
    if file is not None:
        document = {"machine": asdict(machine), "costs": [asdict(cost) for cost in costs]}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure: `sizes` are images in a request."""

    image_bytes: int
    rounds: int
    seconds: float
    sizes: tuple[int, ...]


async def _measure(title: str, plan: Plan) -> list[Cost]:
    async with _torchserve(OPTIONS[title]) as (supervisor, link):
        spent: dict[int, list[Cost]] = {size: [] for size in plan.sizes}
        await _turn(title, plan, plan.sizes[-1], supervisor, link)  # the compiler's first sight of it
        for _ in range(plan.rounds):
            for size in plan.sizes:
                spent[size].append(await _turn(title, plan, size, supervisor, link))
    return [_median(costs) for costs in spent.values()]


async def _turn(title: str, plan: Plan, size: int, supervisor: Supervisor, link: Link) -> Cost:
    blobs = {str(number): os.urandom(plan.image_bytes) for number in range(size)}
    request = PredictionsRequest(model_name=MODEL, input={"header": b"{}", **blobs})
    began, before = time.perf_counter(), _cpu_s(supervisor)
    ends, requests = began + plan.seconds, 0

    async def caller() -> None:
        nonlocal requests
        while time.perf_counter() < ends:
            await link.call("Predictions", request, TIMEOUT_S)
            requests += 1

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    took = time.perf_counter() - began
    spent = [1e3 * (now - then) for now, then in zip(_cpu_s(supervisor), before, strict=True)]
    java_ms, worker_ms, caller_ms = (one / (requests * size) for one in spent)
    return Cost(
        options=title,
        images=size,
        rate=requests * size / took,
        java_ms=java_ms,
        worker_ms=worker_ms,
        caller_ms=caller_ms,
    )


def _cpu_s(supervisor: Supervisor) -> tuple[float, float, float]:
    """CPU seconds so far of Java, of its workers, and of this process."""
    java = psutil.Process(supervisor.pid)
    workers = sum(_used(child) for child in java.children(recursive=True))
    return _used(java), workers, time.process_time()


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _median(costs: list[Cost]) -> Cost:
    names = ("rate", "java_ms", "worker_ms", "caller_ms")
    middle = {name: statistics.median(getattr(cost, name) for cost in costs) for name in names}
    return Cost(options=costs[0].options, images=costs[0].images, **middle)


@asynccontextmanager
async def _torchserve(options: tuple[str, ...]) -> AsyncIterator[tuple[Supervisor, Link]]:
    """A supervised TorchServe with the handler loaded, and a connection to its inference port."""
    channel = ChannelOptions(max_message_bytes=MAX_BYTES)
    with tempfile.TemporaryDirectory(prefix="attnserve-bench-") as folder:
        supervisor = Supervisor(Path(folder), Launch(java_options=options, max_message_bytes=MAX_BYTES))
        await supervisor.start()
        links = (
            Link(
                "management",
                ManagementAPIsServiceStub,
                lambda: supervisor.endpoints.management_grpc,
                lambda: supervisor.endpoints.management_token,
                channel,
            ),
            Link(
                "inference",
                InferenceAPIsServiceStub,
                lambda: supervisor.endpoints.inference_grpc,
                lambda: supervisor.endpoints.inference_token,
                channel,
            ),
        )
        try:
            _write_archive(supervisor.store / f"{MODEL}.mar")
            register = RegisterModelRequest(url=f"{MODEL}.mar", initial_workers=1, synchronous=True)
            await links[0].call("RegisterModel", register, TIMEOUT_S)
            yield supervisor, links[1]
        finally:
            await asyncio.gather(*(link.close() for link in links))
            await supervisor.stop(1.0)


def _write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing.py", _HANDLER)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(_MANIFEST))
        archive.writestr("model-config.yaml", yaml.safe_dump(_CONFIG))


if __name__ == "__main__":
    typer.run(main)
