"""`python -m loadtests.calibrate`: what making the load costs, and the most of it that one process can make.

The users of the load tests, unchanged, against a server that has its reply at hand (`loadtests.null_server`):
each way alone, as many requests as go through. A load test that comes near these figures measures itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import psutil
import typer
from rich.table import Table

from loadtests.console import wide
from loadtests.exchange import GRPC, REST_BINARY, REST_JSON
from loadtests.exchanges import read_exchanges
from loadtests.machine import Machine
from loadtests.null_server import MODEL
from loadtests.running.generators import measuring
from loadtests.running.launch import Job, LaunchError, launch
from loadtests.stack import Stack, StackError, end_in_order, running_stack
from loadtests.traffic.corpus import CorpusError, read_corpus

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
# Way -> the class of its users.
USERS: Final = {GRPC: "GrpcUser", REST_BINARY: "RestBinaryUser", REST_JSON: "RestJsonUser"}
# What must be refused; the server refuses nothing.
_REFUSED: Final = ("corrupt", "oversized")
WARM_UP_S: Final = 1.0

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure.

    Attributes:
        seconds: Of each way, after a warm-up.
        users: Who ask at a time, each after its last answer.
        samples: Folder of images.
        tags: Kinds of question, by Locust's tags; () is all that are answered.
    """

    seconds: float
    users: int
    samples: Path
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What one process of Locust reaches in one way.

    Attributes:
        way: One of `exchange.PROTOCOLS`.
        rate: Requests a second.
        cpu_ms: CPU time of the process for one of them, in milliseconds.
        core: Share of a core that it used.
        server_core: Share of a core that the server used; near 1 it was the limit itself.
        other_cores: Cores that everything else on the machine used; it took them from these two.
        failures: Requests whose reply was not right; 0, or nothing here means anything.
    """

    way: str
    rate: float
    cpu_ms: float
    core: float
    server_core: float
    other_cores: float
    failures: int


def main(
    *,
    seconds: Annotated[float, typer.Option(help="How long each way is measured.", min=1)] = 10.0,
    users: Annotated[int, typer.Option(help="Concurrent users.", min=1)] = 16,
    samples: Annotated[Path, typer.Option(help="Folder of images.")] = Path("run/samples"),
    tags: Annotated[
        str, typer.Option(help="Only these kinds of question, by comma.", show_default=False)
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
) -> None:
    """Measure the generator of the load tests alone, against a server that costs next to nothing.

    Nothing else should run on the machine meanwhile.
    """
    plan = Plan(
        seconds=seconds,
        users=users,
        samples=samples,
        tags=tuple(filter(None, map(str.strip, tags.split(",")))),
    )
    try:
        read_corpus(samples)
        ceilings = calibrate(plan)
    except (CorpusError, LaunchError, StackError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    show(ceilings)
    if file is not None:
        document = {"machine": asdict(Machine.here()), "ways": [asdict(ceiling) for ceiling in ceilings]}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(1 if any(ceiling.failures for ceiling in ceilings) else 0)


def calibrate(plan: Plan) -> tuple[Ceiling, ...]:
    """Measure each way alone.

    Raises:
        StackError: The server did not start.
        LaunchError: Locust did not do its work.
    """
    with _null_server() as (stack, folder), console.status("") as status:
        ceilings = []
        for way in USERS:
            status.update(way)
            ceilings.append(_ceiling(plan, way, stack, folder))
    return tuple(ceilings)


def show(ceilings: tuple[Ceiling, ...]) -> None:
    """Print the table."""
    machine = Machine.here()
    table = Table("way", "requests/s", "CPU ms each", "cores", "of the server", "of others", "failures")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in ceilings:
        cores = (f"{share:.2f}" for share in (one.core, one.server_core, one.other_cores))
        table.add_row(one.way, f"{one.rate:.0f}", f"{one.cpu_ms:.2f}", *cores, str(one.failures))
    console.print(f"One process of Locust; {machine.processor}, {machine.cores} cores", markup=False)
    console.print(table)


@contextmanager
def _null_server() -> Iterator[tuple[Stack, Path]]:
    with tempfile.TemporaryDirectory(prefix="attnserve-calibrate-") as name:
        folder = Path(name)
        with running_stack(folder, {}, (sys.executable, "-m", "loadtests.null_server")) as stack:
            yield stack, folder


def _ceiling(plan: Plan, way: str, stack: Stack, folder: Path) -> Ceiling:
    with measuring({stack.pid: "server"}) as server:
        launched = launch(_job(plan, way, stack, folder))
    exchanges = read_exchanges(launched.exchanges)
    began = float(launched.result["began"]) + WARM_UP_S
    ended = began + plan.seconds
    rate = np.count_nonzero((exchanges.ended >= began) & (exchanges.ended < ended)) / plan.seconds
    (cost,) = launched.generators.costs({}, began, ended)
    (served,) = server.costs({}, began, ended)
    busy = cost.machine_busy * (psutil.cpu_count() or 1)
    return Ceiling(
        way=way,
        rate=rate,
        cpu_ms=1e3 * cost.cores / rate if rate else 0.0,
        core=cost.cores,
        server_core=served.cores,
        other_cores=max(0.0, busy - cost.cores - served.cores),
        failures=int(np.count_nonzero(exchanges.failed)),
    )


def _job(plan: Plan, way: str, stack: Stack, folder: Path) -> Job:
    shape = f"{plan.seconds + WARM_UP_S:g}@{plan.users}"
    kinds = ("--tags", *plan.tags) if plan.tags else ()
    return Job(
        locustfile=LOCUSTFILE,
        arguments=(
            *(USERS[way], "--host", stack.target.http, "--grpc", stack.target.grpc),
            *("--models", MODEL, "--samples", str(plan.samples), "--accuracy-floor", "0"),
            *("--loop", "closed", "--shape", shape, *kinds, "--exclude-tags", *_REFUSED),
        ),
        seconds=plan.seconds + WARM_UP_S,
        workers=0,
        folder=folder / USERS[way],
    )


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
