"""`attnserve serve` from the first line to the last: start, perhaps the tour, stay up, drain."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import uvloop
from rich.console import Console

from serve.app import Gateway, PortError
from serve.config import Config
from serve.core.errors import ServeError
from serve.tour import tour

FAILED, WRONG = 1, 2
SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(config: Config, tour_folder: Path | None, console: Console, stderr: Console) -> int:
    """Serve until SIGTERM or SIGINT (Ctrl-C), then drain.

    Returns:
        The exit code: 0 after a drain, 1 when an engine cannot be started, 2 when a port is busy.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    gateway = Gateway(config)
    work = asyncio.create_task(_work(gateway, tour_folder, console), name="work")
    stop = asyncio.create_task(stopped.wait(), name="stop")
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
    finally:
        # From here on a second signal ends the process at once.
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        await gateway.close()
    return _exit_code(work, stderr)


async def _work(gateway: Gateway, tour_folder: Path | None, console: Console) -> None:
    await gateway.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run())
        if tour_folder is not None:
            await tour(console, gateway.addresses, tour_folder, gateway.config.run_dir)


def _exit_code(work: asyncio.Task[None], stderr: Console) -> int:
    error = None if work.cancelled() else work.exception()
    if error is None:
        return 0
    if isinstance(error, PortError | ServeError):
        stderr.print(str(error), markup=False, soft_wrap=True)
        return WRONG if isinstance(error, PortError) else FAILED
    raise error


def run(config: Config, tour_folder: Path | None, console: Console, stderr: Console) -> int:
    """`serve` on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, tour_folder, console, stderr))
