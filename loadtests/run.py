"""`python -m loadtests`: a short load test against a gateway that is there, or one that it starts itself.

Right is only what is right to the request: every reply was checked, and the gateway's own counters agree
with what was sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from loadtests.scrape import scrape
from loadtests.stack import StackError, Target, running_stack
from loadtests.tally import Tally, differences

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
MODELS = ("digits_plain", "digits_se", "digits_eca", "digits_sk")
STORE = Path("model_store/archives")
STOP_TIMEOUT_S = 30  # for the last answers, so that no request is left uncounted

console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to run.

    Attributes:
        users: Concurrent ones, a third of each sort.
        seconds: How long.
        samples: Folder of LABEL-N.png.
    """

    users: int
    seconds: int
    samples: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        status: Locust's exit code.
        result: What the locustfile wrote.
        differences: Where the gateway counted otherwise.
    """

    status: int
    result: dict[str, Any]
    differences: list[str]

    @property
    def good(self) -> bool:
        """Whether requests were sent, all replies were right, and the counts agree."""
        return not self.status and bool(self.result["rows"]) and not self.differences


def main(
    users: Annotated[int, typer.Option(help="Concurrent users.", min=1)] = 8,
    seconds: Annotated[int, typer.Option(help="How long.", min=1)] = 20,
    host: Annotated[
        str, typer.Option(help="REST address of a gateway that may be running.")
    ] = "http://127.0.0.1:8000",
    grpc: Annotated[str, typer.Option(help="Its gRPC address.")] = "127.0.0.1:8001",
    metrics: Annotated[str, typer.Option(help="Its metrics page.")] = "http://127.0.0.1:8002/metrics",
    samples: Annotated[Path, typer.Option(help="Folder of LABEL-N.png.")] = Path("run/samples"),
) -> None:
    """Load the demo's models over gRPC and REST, check every reply, and compare counts with the gateway's.

    Uses the gateway at --host if one answers there; nobody else may call it meanwhile, since the counts would
    differ. Otherwise starts one on free ports. Exit code 1: something was wrong.
    """
    load = Load(users=users, seconds=seconds, samples=samples)
    try:
        ensure_demo(load.samples)
        with _target(Target(http=host, grpc=grpc, metrics=metrics)) as target:
            outcome = run_locust(target, load)
    except (StackError, subprocess.CalledProcessError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    _show(outcome)
    raise typer.Exit(0 if outcome.good else 1)


def run_locust(target: Target, load: Load) -> Outcome:
    """Run Locust headless, and compare its counts with the gateway's."""
    before = scrape(target.metrics).requests(MODELS)
    with tempfile.TemporaryDirectory(prefix="attnserve-loadtest-") as folder:
        file = Path(folder) / "result.json"
        with console.status(f"{load.users} users for {load.seconds} s"):
            status = subprocess.run(_locust_command(target, load, file), check=False).returncode  # noqa: S603  our own
        if not file.exists():
            raise StackError(f"locust ended with status {status} before it counted anything")
        result: dict[str, Any] = json.loads(file.read_text())
    counted = scrape(target.metrics).requests(MODELS)
    counted.subtract(before)
    return Outcome(
        status=status,
        result=result,
        differences=differences(Tally.of_json(result["tally"]).requests, counted),
    )


def _locust_command(target: Target, load: Load, result: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "--headless", "--skip-log-setup"),
        *("-f", str(LOCUSTFILE), "--host", target.http, "--grpc", target.grpc),
        *("-u", str(load.users), "-r", str(load.users), "-t", f"{load.seconds}s"),
        *("--stop-timeout", str(STOP_TIMEOUT_S)),
        *("--models", ",".join(MODELS), "--samples", str(load.samples), "--result", str(result)),
    ]


def ensure_demo(samples: Path) -> None:
    """Build the demo's archives and samples, if any of them is not there."""
    if not samples.is_dir() or not all((STORE / f"{model}.mar").exists() for model in MODELS):
        program = str(Path(sys.executable).with_name("attnserve"))
        subprocess.run([program, "build", "--demo", "--samples", str(samples)], check=True)  # noqa: S603  our own


@contextmanager
def _target(given: Target) -> Iterator[Target]:
    if given.is_gateway():
        console.print(f"using the gateway at {given.http}")
        yield given
        return
    console.print(f"no gateway at {given.http}: starting one")
    with tempfile.TemporaryDirectory(prefix="attnserve-loadtest-") as folder:
        settings = {"ATTNSERVE_MODEL_STORE": str(STORE), "ATTNSERVE_MODELS": json.dumps(MODELS)}
        with running_stack(Path(folder), settings) as stack:
            yield stack.target


def _show(outcome: Outcome) -> None:
    table = Table(
        "over", "what", "requests", "failures", "per second", "p50 ms", "p90 ms", "p99 ms", title="Load test"
    )
    for row in outcome.result["rows"]:
        times = (f"{value:.0f}" for value in row["milliseconds"])
        counts = (str(row["requests"]), str(row["failures"]), f"{row['per_second']:.1f}")
        table.add_row(row["protocol"], row["name"], *counts, *times)
    console.print(table)
    tally = Tally.of_json(outcome.result["tally"])
    console.print(f"digits named rightly: {tally.right} of {tally.judged} ({100 * tally.accuracy:.2f} %)")
    for line in outcome.result["errors"]:
        console.print(f"failed: {line}", markup=False, soft_wrap=True)
    if outcome.differences:
        for line in outcome.differences:
            console.print(f"counts differ: {line}", markup=False, soft_wrap=True)
    else:
        console.print(
            f"the gateway counted the same: {tally.requests.total()} requests, by model, protocol and outcome"
        )
