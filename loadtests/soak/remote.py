"""The driver's side of the fake engines: breaks and repairs them over the gateway's socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.soak.fakes import ENGINES, SOCKET
from loadtests.soak.faults import ALL_ENGINES, Fault

# Kind -> the orders that break and those that repair. A removed engine gets batches until that is noticed.
_NOTICED_S: Final = 0.2
_ORDERS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "hang": (("hang",), ("wake",)),
    "slow": (("slow",), ("brisk",)),
    "remove": (("drop", "dismiss"), ("restore",)),
    "outage": (("dismiss",), ("restore",)),
}


class RemoteEngines:
    """Implements `Engines`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    @property
    def count(self) -> int:
        """See `Engines`."""
        return ENGINES

    async def begin(self, fault: Fault) -> None:
        """See `Engines`."""
        name, _, reason = fault.kind.name.partition("-")
        if reason:
            await self._order("fail", fault, reason=reason, times=fault.times)
            return
        for number, verb in enumerate(_ORDERS[name][0]):
            await asyncio.sleep(number * _NOTICED_S)
            await self._order(verb, fault)

    async def end(self, fault: Fault) -> None:
        """See `Engines`."""
        for verb in _ORDERS.get(fault.kind.name, ((), ()))[1]:
            await self._order(verb, fault)

    async def tasks(self) -> int:
        """Tasks of the gateway's event loop."""
        return int((await self._ask({"verb": "look", "engines": []}))["tasks"])

    async def _order(self, verb: str, fault: Fault, **more: str | int) -> None:
        engines = list(range(ENGINES)) if fault.engine == ALL_ENGINES else [fault.engine]
        await self._ask({"verb": verb, "engines": engines, **more})

    async def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        async with self._turn:
            self._writer.write(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await self._reader.readline())
            return answer


@asynccontextmanager
async def remote_engines(run_dir: Path) -> AsyncIterator[RemoteEngines]:
    """Connect to the gateway that has its run folder there."""
    reader, writer = await asyncio.open_unix_connection(run_dir / SOCKET)
    try:
        yield RemoteEngines(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
