"""`attnserve serve` from the first line to the last: start, perhaps a tour, stay up, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable

import uvloop
from rich.console import Console

from serve.app import Gateway
from serve.config import ConfigError
from serve.core.errors import ServeError
from serve.doors import SetupError
from serve.fleet import FleetOf, build_fleet
from serve.settings import Config

FAILED, WRONG = 1, 2
SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Engines that run elsewhere are asked for their models after the start.
PATIENCE_S = 30.0
POLL_S = 0.1
TERMINAL_GONE_S = 0.5

WhenReady = Callable[[Gateway], Awaitable[None]]


async def serve(
    config: Config, when_ready: WhenReady | None, stderr: Console, fleet_of: FleetOf = build_fleet
) -> int:
    """Serve until SIGTERM or SIGINT (Ctrl-C), then drain; on SIGHUP look for new tokens and certificates.

    Args:
        config: Of the gateway.
        when_ready: Run once every model can answer, or as many as can after a while; the gateway serves
            meanwhile, and whatever it does.
        stderr: Gets the reason when the gateway cannot start.
        fleet_of: Makes the engines.

    Returns:
        The exit code: 0 after a drain, 1 when an engine cannot be started, 2 when a port is busy.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        gateway = Gateway(config, fleet_of)
    except ConfigError as error:
        stderr.print(str(error), markup=False, soft_wrap=True)
        return WRONG
    loop.add_signal_handler(signal.SIGHUP, _on_hangup(loop, gateway.reload, stopped.set))
    work = asyncio.create_task(_work(gateway, when_ready), name="work")
    stop = asyncio.create_task(stopped.wait(), name="stop")
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():  # engines are watched, and restarted, for as long as they have to answer
            _end_at_once_on_another_signal(loop)
            await gateway.drain()
        for task in (work, stop):
            task.cancel()
        await asyncio.wait({work, stop})
    finally:
        _end_at_once_on_another_signal(loop)
        await gateway.close()
    return _exit_code(work, stderr)


def run(
    config: Config, when_ready: WhenReady | None, stderr: Console, fleet_of: FleetOf = build_fleet
) -> int:
    """`serve` on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, when_ready, stderr, fleet_of))


async def _work(gateway: Gateway, when_ready: WhenReady | None) -> None:
    await gateway.start()
    _let_be()
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run())
        if when_ready is not None:
            group.create_task(_then(when_ready, gateway))


def _let_be() -> None:
    """Spare the garbage collector what stays for good: modules, routes, metrics.

    It would look through all of that again and again, on requests' time.
    """
    gc.collect()
    gc.freeze()


async def _then(when_ready: WhenReady, gateway: Gateway) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            # A poll, since it is over once and for all in a moment.
            while not gateway.service.ready():  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    await when_ready(gateway)


def _on_hangup(
    loop: asyncio.AbstractEventLoop, reload: Callable[[], None], stop: Callable[[], None]
) -> Callable[[], None]:
    """SIGHUP is the operator's word to look again, unless it is the terminal's, which has been closed."""
    ends_with_it = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # as nohup sets

    def hear() -> None:
        reload()
        if ends_with_it:
            # The kernel sends the signal first, and takes the terminal away a moment later.
            loop.call_later(TERMINAL_GONE_S, lambda: None if _has_terminal() else stop())

    return hear


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end_at_once_on_another_signal(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever presses Ctrl-C twice does not want to wait for the drain; the kernel ends Java with us."""
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def _exit_code(work: asyncio.Task[None], stderr: Console) -> int:
    error = None if work.cancelled() else work.exception()
    if error is None:
        return 0
    if isinstance(error, SetupError | ServeError):
        stderr.print(str(error), markup=False, soft_wrap=True)
        return WRONG if isinstance(error, SetupError) else FAILED
    raise error
