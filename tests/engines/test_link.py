"""The connection to an engine: when it is replaced, what becomes of calls on the old one, a cut network."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from serve.core.errors import EngineError
from serve.engines.torchserve_link import ChannelOptions, Link
from serve.pb.torchserve_inference_pb2 import PredictionsRequest
from serve.pb.torchserve_inference_pb2_grpc import InferenceAPIsServiceStub
from tests.engines import echo_server
from tests.faults.network import Cable, Namespace, star

TIMEOUT_S = 20.0
PROMPT_S = 5.0


async def peer(link: Link, sleep_s: float = 0.0, timeout_s: float = TIMEOUT_S) -> str:
    """Our own end of the connection on which a call goes."""
    request = PredictionsRequest(model_name="m", input={"sleep": str(sleep_s).encode()})
    return (await link.call("Predictions", request, timeout_s)).prediction.decode()  # type: ignore[no-any-return]


async def reason(link: Link, sleep_s: float = 0.0, timeout_s: float = TIMEOUT_S) -> str:
    """Why a call fails."""
    with pytest.raises(EngineError) as failed:
        await peer(link, sleep_s, timeout_s)
    return failed.value.reason


def link_to(target: str, options: ChannelOptions | None = None) -> Link:
    """A link without a token."""
    return Link("engine", InferenceAPIsServiceStub, lambda: target, None, options or ChannelOptions())


@asynccontextmanager
async def linked(options: ChannelOptions | None = None) -> AsyncIterator[Link]:
    """A link to a server of its own."""
    server, port = await echo_server.start("127.0.0.1:0")
    link = link_to(f"127.0.0.1:{port}", options)
    try:
        yield link
    finally:
        await link.close()
        await server.stop(0)


async def test_calls_share_a_connection() -> None:
    """As long as they are answered in time."""
    async with linked() as link:
        assert len({*await asyncio.gather(*(peer(link) for _ in range(5))), await peer(link)}) == 1


async def test_after_a_silence_the_next_call_takes_another_connection() -> None:
    """And those that run on the first one go on until they are answered."""
    async with linked() as link:
        first = await peer(link)
        running = asyncio.create_task(peer(link, sleep_s=1.0))
        assert await reason(link, sleep_s=TIMEOUT_S, timeout_s=0.2) == "timeout"
        second = await peer(link)
        assert second != first
        assert not running.done()
        assert await running == first
        assert await peer(link) == second


async def test_an_old_connection_is_replaced() -> None:
    """By age; no call notices."""
    async with linked(ChannelOptions(max_age_s=0.5)) as link:
        first = await peer(link)
        running = asyncio.create_task(peer(link, sleep_s=1.0))
        await asyncio.sleep(0.6)
        assert await peer(link) != first
        assert await running == first


async def test_connections_do_not_pile_up() -> None:
    """An engine that answers nothing gets a bounded number of them, however many calls wait."""
    async with linked() as link:
        running = []
        for _ in range(10):
            running.append(asyncio.create_task(peer(link, sleep_s=1.5)))
            assert await reason(link, sleep_s=TIMEOUT_S, timeout_s=0.05) == "timeout"
        assert len(set(await asyncio.gather(*running))) <= 5
        assert len({await peer(link) for _ in range(3)}) == 1


async def test_a_farewell_lets_calls_end() -> None:
    """Within the grace they are answered, after it they fail; afterwards there is nothing to call."""
    async with linked() as link:
        short = asyncio.create_task(peer(link, sleep_s=0.3))
        long = asyncio.create_task(reason(link, sleep_s=TIMEOUT_S))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await link.close(grace_s=1.0)
        assert 0.9 < time.monotonic() - began < PROMPT_S
        assert (await short != "", await long, await reason(link)) == (True, "unreachable", "unreachable")


async def test_a_farewell_with_nothing_to_wait_for_is_short() -> None:
    """The grace is a bound, not a pause."""
    async with linked() as link:
        await peer(link)
        began = time.monotonic()
        await link.close(grace_s=60)
        assert time.monotonic() - began < PROMPT_S


async def test_a_listener_that_never_speaks_is_found_out() -> None:
    """A frozen process still accepts connections: a call does not wait for its deadline to learn that."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        link = link_to(f"127.0.0.1:{frozen.getsockname()[1]}")
        began = time.monotonic()
        assert await reason(link) == "unreachable"
        assert time.monotonic() - began < PROMPT_S
        await link.close()


async def test_a_server_that_comes_back_is_used_at_once() -> None:
    """After a long absence, too: within two seconds."""
    server, port = await echo_server.start("127.0.0.1:0")
    link = link_to(f"127.0.0.1:{port}")
    await peer(link)
    await server.stop(0)
    for _ in range(20):
        assert await reason(link) == "unreachable"
        await asyncio.sleep(0.1)
    server, _ = await echo_server.start(f"127.0.0.1:{port}")
    began = time.monotonic()
    while True:
        try:
            await peer(link)
            break
        except EngineError:
            assert time.monotonic() - began < PROMPT_S
            await asyncio.sleep(0.05)
    assert time.monotonic() - began < 2.5
    await link.close()
    await server.stop(0)


# Asks again and again, and prints when it was answered.
CLIENT = """
import asyncio, sys, time
from serve.core.errors import EngineError
from tests.engines.test_link import link_to, peer

async def main():
    link = link_to(sys.argv[1])
    while True:
        try:
            await peer(link, timeout_s=1.0)
            print(time.monotonic(), flush=True)
        except EngineError:
            pass
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


@contextmanager
def started(where: Namespace, *arguments: str) -> Iterator[Iterator[str]]:
    """A Python program of ours in a namespace; gives its lines."""
    with where.entered():
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    assert process.stdout is not None
    try:
        yield iter(process.stdout)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@contextmanager
def swallowed(cable: Cable) -> Iterator[None]:
    """Everything sent to the far end is lost on the way: the kernel takes it for another machine's.

    A link that is down would be noticed by the sender's kernel, which then tries again every half second.
    """
    far = ["ip", "-n", cable.near.name, "neighbour"]
    which = [cable.far_host, "dev", f"near{cable.number}"]
    subprocess.run([*far, "replace", *which, "lladdr", "02:00:00:00:00:01", "nud", "permanent"], check=True)
    try:
        yield
    finally:
        subprocess.run([*far, "delete", *which], check=True)


@pytest.mark.slow
@pytest.mark.needs_program("ip", how="apt install iproute2")
def test_a_cut_network_is_used_soon_after_its_repair() -> None:
    """A connection that met the cut would only go on when TCP next repeats itself, here 5 s later."""
    cut_s, back_s = 8.0, 3.0
    with star(1) as (hub, (cable,)), ExitStack() as life:
        target = f"{cable.far_host}:7070"
        next(life.enter_context(started(cable.far, "-m", "tests.engines.echo_server", target)))
        answers = map(float, life.enter_context(started(hub, "-c", CLIENT, target)))
        next(answers)
        with swallowed(cable):
            began = time.monotonic()
            time.sleep(cut_s)
        repaired = time.monotonic()
        back = next(answer for answer in answers if answer > began + 1)
        assert repaired - 0.5 < back < repaired + back_s
