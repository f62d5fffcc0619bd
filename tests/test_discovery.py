"""Where engines are: addresses as they are written, what a name stands for, and a name server's moods."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from serve.core.errors import UnavailableError
from serve.discovery import ANSWER_TIMEOUT_S, Address, Answers, NameWatch, look_up
from tests.service.virtual_time import in_virtual_time

NAME = Address(host="workers", port=7070)
INTERVAL_S = 1.0
FAILED = UnavailableError("host 'workers' cannot be looked up: it fails")


def at(*hosts: str) -> Answers:
    """Those hosts at the name's port."""
    return frozenset(Address(host=host, port=NAME.port) for host in hosts)


@pytest.mark.parametrize(
    ("text", "shown", "is_number"),
    [
        ("worker-0:7070", "worker-0:7070", False),
        ("dns:///worker-headless:7070", "worker-headless:7070", False),
        ("10.0.0.7:1", "10.0.0.7:1", True),
        ("dns:///10.0.0.7:65535", "10.0.0.7:65535", True),
        ("[fd00::7]:7070", "[fd00::7]:7070", True),
    ],
)
def test_an_address_is_read(text: str, shown: str, is_number: bool) -> None:
    """A name or a number and a port, with gRPC's scheme or without."""
    address = Address.parse(text)
    assert (str(address), address.is_number) == (shown, is_number)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "worker", ":7070", "worker:", "worker:0", "worker:65536", "worker:http", "fd00::7:7070",
     "[worker]:1", "[10.0.0.7:1",
     "dns://10.0.0.1/worker:7070", "http://worker:7070", "work er:1", "worker:7070/x"],
)  # fmt: skip
def test_another_text_is_no_address(text: str) -> None:
    """The message shows it and says the rule."""
    with pytest.raises(ValueError, match="address is '") as refused:
        Address.parse(text)
    assert repr(text) in str(refused.value)


def found(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let libc answer with these."""
    kinds = {False: socket.AF_INET, True: socket.AF_INET6}
    entries = [
        (kinds[":" in host], socket.SOCK_STREAM, 6, "", (host, NAME.port, *((0, 0) if ":" in host else ())))
        for host in hosts
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: entries)


@pytest.mark.parametrize(
    ("libc", "used"),
    [
        (("10.0.0.2", "10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2")),
        (("fd00::1", "10.0.0.1"), ("10.0.0.1",)),
        (("fd00::1", "fd00::2"), ("fd00::1", "fd00::2")),
    ],
)
async def test_every_address_counts_once(
    monkeypatch: pytest.MonkeyPatch, libc: tuple[str, ...], used: tuple[str, ...]
) -> None:
    """A host that has IPv4 and IPv6 is one host."""
    found(monkeypatch, *libc)
    assert await look_up(NAME) == at(*used)


async def test_this_machine_is_one_engine() -> None:
    """`localhost`, which is both 127.0.0.1 and ::1 on many machines, by the real libc."""
    assert await look_up(Address(host="localhost", port=7070)) == {Address(host="127.0.0.1", port=7070)}


@pytest.mark.parametrize("host", ["a" * 64, "..", "nobody.invalid"])
async def test_a_name_that_means_nothing(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Unknown or impossible, it ends in an error that names it."""
    if host.endswith(".invalid"):  # no test asks a real name server

        def unknown(*_args: object, **_kwargs: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnavailableError, match=f"host '{host}' cannot be looked up: "):
        await look_up(Address(host=host, port=1))


def test_a_silent_name_server_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the event loop, nor work in its threads, nor its end."""
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answer.wait(30) and [])

    async def main() -> float:
        question = asyncio.create_task(look_up(NAME))
        await asyncio.sleep(0.05)
        assert not question.done()
        began = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(50)))
        question.cancel()
        with suppress(asyncio.CancelledError):
            await question
        return began

    began = asyncio.run(main())
    assert time.monotonic() - began < 5
    answer.set()


class Server:
    """A name server that answers, fails or is silent, as told."""

    def __init__(self) -> None:
        self.answers: Answers | None = at("10.0.0.1")
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.asked: list[float] = []
        self.heard: list[Answers | str] = []

    async def look_up(self, address: Address) -> Answers:
        """Do as told."""
        assert address == NAME
        self.asked.append(asyncio.get_running_loop().time())
        await self.speaks.wait()
        if self.answers is None:
            raise FAILED
        return self.answers


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[None]:
    """A watch of NAME at work."""
    watch = NameWatch(NAME, INTERVAL_S, server.heard.append, server.heard.append, server.look_up)
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_virtual_time
async def test_a_name_is_looked_up_again_and_again() -> None:
    """At once, and then at the interval; every answer is told."""
    server = Server()
    async with watched(server):
        await asyncio.sleep(0.5)
        server.answers = at("10.0.0.2", "10.0.0.3")
        await asyncio.sleep(INTERVAL_S)
    assert server.asked == [0.0, 1.0]
    assert server.heard == [at("10.0.0.1"), at("10.0.0.2", "10.0.0.3")]


@in_virtual_time
async def test_a_failure_is_told_and_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """It is tried again at the same pace; what was known before is nobody's to take back here."""
    server = Server()
    async with watched(server):
        await asyncio.sleep(0.5)
        server.answers = None
        await asyncio.sleep(3 * INTERVAL_S)
        server.answers = at("10.0.0.1")
        await asyncio.sleep(INTERVAL_S)
    assert server.heard == [at("10.0.0.1"), *[FAILED.message] * 3, at("10.0.0.1")]
    assert capsys.readouterr().out.count("host not found") == 1


@in_virtual_time
async def test_a_silent_name_server_is_asked_once() -> None:
    """Silence counts as failure after a while, but questions do not pile up; the late answer is used."""
    server = Server()
    server.speaks.clear()
    async with watched(server):
        await asyncio.sleep(2.5 * ANSWER_TIMEOUT_S)
        assert len(server.asked) == 1
        server.speaks.set()
        await asyncio.sleep(0.7)
    why = "host 'workers' cannot be looked up: the name server did not answer within 5 s"
    assert server.heard == [why, why, at("10.0.0.1")]
