"""A relay: passes TCP connections on to another port, and the answers back after a while.

`python -m tests.relay HOST:PORT TARGET_PORT DELAY_S` is one in front of a port of loopback; it ends with
SIGTERM. With a delay, what stands behind it has a fixed capacity, however fast the machine is: whoever sends
no more than N questions ahead gets N answers in each delay.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

_PIECE_BYTES = 1 << 16


class Relay:
    """Passes on what comes.

    Attributes:
        connections: How many have come so far.
    """

    def __init__(self, target_port: int, delay_s: float = 0.0) -> None:
        """Listen nowhere yet; the target is on loopback."""
        self.connections = 0
        self._target_port = target_port
        self._tasks = set[asyncio.Task[None]]()
        self._delay_s = delay_s

    @asynccontextmanager
    async def open(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        """Listen while the context lasts; gives the port."""
        server = await asyncio.start_server(self._take, host, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with ExitStack() as ends, suppress(ConnectionError):
            ends.callback(writer.transport.abort)
            there, to_there = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.callback(to_there.transport.abort)
            await asyncio.gather(_pump(reader, to_there, 0.0), _pump(there, writer, self._delay_s))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def write() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            writer.write(piece)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        while piece := await _read(reader):
            pieces.put_nowait((loop.time() + delay_s, piece))
        pieces.put_nowait((loop.time() + delay_s, b""))
    writer.close()
    await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The next piece; empty at the end, of whatever kind that is."""
    try:
        return await reader.read(_PIECE_BYTES)
    except ConnectionError:
        return b""


async def main() -> None:
    """Pass on what comes to the address that the command line names, until SIGTERM."""
    host, _, port = sys.argv[1].rpartition(":")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with Relay(int(sys.argv[2]), float(sys.argv[3])).open(host, int(port)):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
