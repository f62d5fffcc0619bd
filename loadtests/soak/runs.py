"""A whole run against each sort of engine: start, load, break, look, end."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from loadtests.running.sites import MODELS, STORE, ensure_demo
from loadtests.soak import fakes, torchserves
from loadtests.soak.baseline import demo_stock
from loadtests.soak.drive import Course, Drive, Load
from loadtests.soak.encode import MAX_REQUEST_BYTES
from loadtests.soak.faults import FaultKind, Saboteur, schedule
from loadtests.soak.judge import End
from loadtests.soak.remote import remote_engines
from loadtests.soak.report import Plan, Report, conclude
from loadtests.soak.stocks import fake_stock
from loadtests.stack import Stack, running_stack

_TELL_EVERY_S: Final = 0.5
_TENTHS: Final = 10
_FAKE_PAUSE_S: Final = (0.5, 6.0)
FAKE_COMMAND: Final = (sys.executable, "-m", "loadtests.soak.fakes")
_REAL_PAUSE_S: Final = (6.0, 14.0)
_REAL_ENGINES: Final = 2
_SETTLE_S: Final = 5.0  # the gateway is ready with the first engine; the other is found in its next look
SAMPLES: Final = Path("run/samples")
# Rests are short, so that many faults fit into a run; the rest of the gateway is as it ships.
FAKE_SETTINGS: Final = {
    "ATTNSERVE_MAX_REQUEST_BYTES": str(MAX_REQUEST_BYTES),
    "ATTNSERVE_ATTEMPTS_WORKERS": "2",
    "ATTNSERVE_ATTEMPTS_EJECT_S": "0.2",
    "ATTNSERVE_ATTEMPTS_MAX_EJECT_S": "2",
    "ATTNSERVE_LOG_LEVEL": "error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller asked for.

    Attributes:
        faults: Names of the kinds to inject; None for all that must not cost a request.
    """

    requests: int
    seed: int
    workers: int
    faults: tuple[str, ...] | None

    def kinds(self, known: tuple[FaultKind, ...]) -> tuple[FaultKind, ...]:
        """The kinds that are wanted.

        Raises:
            ValueError: One of them is not known.
        """
        if self.faults is None:
            return tuple(kind for kind in known if not kind.on_request)
        by_name = {kind.name: kind for kind in known}
        for name in self.faults:
            if name not in by_name:
                raise ValueError(f"fault {name!r} is not known: use one of {', '.join(by_name)}")
        return tuple(by_name[name] for name in self.faults)


Tell = Callable[[Report], None]


def run_fake(wish: Wish, console: Console, tell: Tell) -> None:
    """Soak a gateway whose engines are fake ones in its own process.

    Raises:
        StackError: The gateway did not start, or ended with an error.
        ValueError: A fault is not known.
    """
    kinds = wish.kinds(fakes.FAULTS)
    with (
        tempfile.TemporaryDirectory(prefix="attnserve-soak-") as name,
        running_stack(Path(name), FAKE_SETTINGS, FAKE_COMMAND) as stack,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tell(runner.run(_fake(wish, kinds, stack, Path(name), console)))


async def _fake(
    wish: Wish, kinds: tuple[FaultKind, ...], stack: Stack, run_dir: Path, console: Console
) -> Report:
    load = Load(requests=wish.requests, seed=wish.seed, workers=wish.workers, stock=fake_stock(wish.seed))
    async with remote_engines(run_dir) as engines:
        saboteur = Saboteur(engines, schedule(wish.seed, kinds, engines.count, _FAKE_PAUSE_S))
        course = await _with_progress(Drive(load, stack, saboteur, engines.tasks), console)
    return conclude(_plan("fake", wish, kinds), course, saboteur.done)


def run_torchserve(wish: Wish, console: Console, tell: Tell) -> None:
    """Soak a gateway in front of two real TorchServes with the demo's models.

    Raises:
        StackError: Something did not start, or the gateway ended with an error.
        ValueError: A fault is not known.
    """
    kinds = wish.kinds(torchserves.FAULTS)
    ensure_demo(SAMPLES)
    with (
        # A short path, since TorchServe makes unix sockets below it.
        tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tell(runner.run(_torchserve(wish, kinds, Path(name), console)))


async def _torchserve(wish: Wish, kinds: tuple[FaultKind, ...], folder: Path, console: Console) -> Report:
    async with torchserves.real_engines(folder, STORE, MODELS, _REAL_ENGINES) as engines:
        listed = [{"address": server.address, "models": list(MODELS)} for server in engines.servers]
        settings = {
            "ATTNSERVE_ENGINES": json.dumps(listed),
            "ATTNSERVE_MAX_REQUEST_BYTES": str(MAX_REQUEST_BYTES),
        }
        with running_stack(folder / "gateway", settings) as stack:
            await asyncio.sleep(_SETTLE_S)
            stock = await demo_stock(stack.target, MODELS, SAMPLES)
            load = Load(requests=wish.requests, seed=wish.seed, workers=wish.workers, stock=stock)
            saboteur = Saboteur(engines, schedule(wish.seed, kinds, engines.count, _REAL_PAUSE_S))
            course = await _with_progress(Drive(load, stack, saboteur, _nobody_tells), console)
            return conclude(_plan("torchserve", wish, kinds), course, saboteur.done)


async def _nobody_tells() -> None:
    """The number of the gateway's tasks, which only the fake engines' gateway tells."""


async def _with_progress(drive: Drive, console: Console) -> Course:
    telling = asyncio.create_task(_progress(drive.course, console))
    try:
        return await drive.run()
    finally:
        telling.cancel()


async def _progress(course: Course, console: Console) -> None:
    """A line for every tenth of the run."""
    account, began, told = course.account, time.monotonic(), 0
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        tenth = _TENTHS * account.sent // account.requests
        if tenth > told:
            told = tenth
            console.print(
                f"{100 * told // _TENTHS:3} %: {account.sent:,} sent, {account.total(End.LOST):,} lost, "
                f"{account.sent / (time.monotonic() - began):.0f} a second"
            )


def _plan(engine: str, wish: Wish, kinds: tuple[FaultKind, ...]) -> Plan:
    return Plan(
        requests=wish.requests,
        engine=engine,
        seed=wish.seed,
        workers=wish.workers,
        faults=tuple(kind.name for kind in kinds),
    )


RUNS: Final[Mapping[str, Callable[[Wish, Console, Tell], None]]] = {
    "fake": run_fake,
    "torchserve": run_torchserve,
}
