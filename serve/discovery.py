"""Where remote engines are: an address, or a host name that is looked up again and again.

Each address that a name stands for is an engine of its own, so that one of them can be measured, ejected
and left out without the others. A name server that fails, or is silent, changes nothing: what was known
last goes on being used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import structlog

from serve.core.errors import UnavailableError

log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

# Of a name server. The question itself goes on after it, because libc cannot be made to give it up; but
# from then on it counts as failed.
ANSWER_TIMEOUT_S = 5.0
_GRPC_SCHEME = "dns:///"
_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\s\[\]]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>\d{1,5})")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host, by name or by number, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read host:port; an IPv6 address stands in brackets, and `dns:///` before it means nothing.

        Raises:
            ValueError: It is not that.
        """
        match = _HOST_AND_PORT.fullmatch(text.removeprefix(_GRPC_SCHEME))
        if match is None or not 0 < int(match["port"]) <= _LAST_PORT:
            raise ValueError(f"address is {text!r}, not host:port with a port from 1 to {_LAST_PORT}")
        address = cls(host=match["v6"] or match["host"], port=int(match["port"]))
        if match["v6"] and not address.is_number:
            raise ValueError(f"address is {text!r}: what stands in brackets is no IPv6 address")
        return address

    @property
    def is_number(self) -> bool:
        """Whether it needs no look-up."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        """Write it as a URL does; gRPC's targets are these."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Answers = frozenset[Address]
LookUp = Callable[[Address], Awaitable[Answers]]


async def look_up(address: Address) -> Answers:
    """Every address that a host name stands for, as libc says; IPv6 ones only if there are no others.

    A host with both kinds is one engine, and must not count twice.

    Raises:
        UnavailableError: There is none, or the name server does not answer.
    """
    try:
        found = await _in_own_thread(
            lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise UnavailableError(f"host {address.host!r} cannot be looked up: {why}") from error
    by_family = {
        family: frozenset(
            Address(host=str(where[0]), port=address.port) for kind, *_, where in found if kind is family
        )
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    return by_family[socket.AF_INET] or by_family[socket.AF_INET6]


class NameWatch:
    """A host name that is looked up at an interval, for as long as `run` runs."""

    def __init__(
        self,
        address: Address,
        interval_s: float,
        on_answers: Callable[[Answers], None],
        on_failure: Callable[[str], None],
        look_up: LookUp = look_up,
    ) -> None:
        """Nothing is looked up before `run`.

        Args:
            address: The name and the port.
            interval_s: Pause between an answer and the next look-up.
            on_answers: Gets all the addresses, after every look-up that finds some.
            on_failure: Gets the reason, after every one that does not.
            look_up: Who is asked.
        """
        self._address = address
        self._interval_s = interval_s
        self._on_answers = on_answers
        self._on_failure = on_failure
        self._look_up = look_up
        self._failing = False

    async def run(self) -> None:
        """Look the name up, again and again, until cancelled."""
        while True:
            try:
                answers = await self._answers()
            except UnavailableError as error:
                self._failed(error.message)
            else:
                self._failing = False
                self._on_answers(answers)
            await asyncio.sleep(self._interval_s)

    async def _answers(self) -> Answers:
        # One question at a time, however long it takes: they would pile up with a silent name server.
        question = asyncio.ensure_future(self._look_up(self._address))
        try:
            while not (await asyncio.wait({question}, timeout=ANSWER_TIMEOUT_S))[0]:
                self._failed(
                    f"host {self._address.host!r} cannot be looked up: "
                    f"the name server did not answer within {ANSWER_TIMEOUT_S:g} s"
                )
            return question.result()
        finally:
            question.cancel()

    def _failed(self, why: str) -> None:
        if not self._failing:
            log.warning("host not found", address=str(self._address), error=why)
        self._failing = True
        self._on_failure(why)


async def _in_own_thread(work: Callable[[], _Result]) -> _Result:
    """Run what may block in a thread that nobody waits for, neither other work nor the end of the process."""
    result: Future[_Result] = Future()
    result.set_running_or_notify_cancel()  # so that it can be given to nobody, too

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:  # noqa: BLE001  whoever waits gets it
            result.set_exception(error)

    threading.Thread(target=run, name="look-up", daemon=True).start()
    return await asyncio.wrap_future(result)
