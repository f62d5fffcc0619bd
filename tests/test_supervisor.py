"""The supervisor against a real TorchServe without models: start, secrecy, restart, end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from serve.core.errors import UnavailableError
from serve.supervisor import Supervisor, pause_before
from serve.torchserve_config import LOOPBACK, Ports
from serve.torchserve_process import Launch, StartError


async def until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.05)


def folders(parent: Path) -> list[Path]:
    """What lies in a folder."""
    return list(parent.iterdir())


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses that a process listens on."""
    connections = psutil.Process(pid).net_connections("inet")
    return {
        (found.laddr.ip.removeprefix("::ffff:"), found.laddr.port)
        for found in connections
        if found.status == psutil.CONN_LISTEN
    }


@pytest.mark.slow
async def test_torchserve_starts_alone_and_leaves_nothing(tmp_path: Path) -> None:
    """It listens on loopback only, hands its token to its owner only, and is gone within 8 seconds."""
    supervisor = Supervisor(tmp_path)
    await supervisor.start()
    try:
        pid, endpoints = supervisor.pid, supervisor.endpoints
        assert pid is not None
        assert {ip for ip, _ in listening(pid)} == {LOOPBACK}
        assert int(endpoints.inference_grpc.split(":")[1]) in {port for _, port in listening(pid)}
        assert os.getsid(pid) != os.getsid(0), "Ctrl-C in the terminal must not reach it"
        token = tmp_path / "inference.token"
        assert token.read_text().strip() == endpoints.inference_token
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert endpoints.inference_token not in repr(endpoints)
        assert endpoints.management_token not in repr(endpoints)
        private = supervisor.store.parent
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        async with httpx.AsyncClient() as client:
            header = {"Authorization": f"Bearer {endpoints.inference_token}"}
            assert (await client.get(f"{endpoints.inference_http}/ping")).status_code == 400
            assert (await client.get(f"{endpoints.inference_http}/ping", headers=header)).status_code == 200
    finally:
        began = time.monotonic()
        await supervisor.stop(8)
    assert time.monotonic() - began < 8
    assert not psutil.pid_exists(pid)
    assert not private.exists()
    assert not token.exists()
    assert "Inference API bind to" in (tmp_path / "torchserve.log").read_text()
    with pytest.raises(UnavailableError):
        _ = supervisor.endpoints


@pytest.mark.slow  # tests/e2e/test_life.py kills one, too
async def test_a_killed_torchserve_comes_back(tmp_path: Path) -> None:
    """Each restart is counted and prepared by `on_started`, and has new tokens."""
    started: list[str] = []
    restarts: list[int] = []

    async def on_started() -> None:
        started.append(supervisor.endpoints.inference_token)

    supervisor = Supervisor(tmp_path, on_started=on_started, on_restart=lambda: restarts.append(1))
    await supervisor.start()
    watch = asyncio.create_task(supervisor.run())
    try:
        before, pid = supervisor.endpoints, supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(started) == 2, 20)
        after = supervisor.endpoints
        assert supervisor.pid != pid
        assert (len(restarts), started) == (1, [before.inference_token, after.inference_token])
        assert before.inference_token != after.inference_token
        assert (tmp_path / "inference.token").read_text().strip() == after.inference_token
        assert before.inference_grpc == after.inference_grpc, "ports that are still free stay"
    finally:
        await supervisor.stop(8)
    await asyncio.wait_for(watch, 1)


@pytest.mark.slow
async def test_a_frozen_torchserve_is_replaced(tmp_path: Path) -> None:
    """Java that lives and does not answer is ended after three pings, and another one started."""
    restarts: list[int] = []
    launch = Launch(ping_interval_s=0.5, pings_to_kill=3)
    supervisor = Supervisor(tmp_path, launch, on_restart=lambda: restarts.append(1))
    await supervisor.start()
    watch = asyncio.create_task(supervisor.run())
    try:
        pid = supervisor.pid
        assert pid is not None
        await asyncio.sleep(launch.ping_interval_s * (launch.pings_to_kill + 1))
        assert (supervisor.pid, restarts) == (pid, []), "one that answers is left alone"
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(launch.ping_interval_s)
        assert psutil.pid_exists(pid), "one ping without an answer is no reason yet"
        await until(lambda: not psutil.pid_exists(pid), 10)
        await until(lambda: supervisor.pid not in (None, pid), 20)
        assert len(restarts) == 1
        assert supervisor.endpoints.inference_grpc
    finally:
        await supervisor.stop(8)
    await asyncio.wait_for(watch, 1)


@pytest.mark.slow
async def test_a_port_that_somebody_took_is_picked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the choice of a port and its use another program may be quicker."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        free = Ports.pick()
        taken = Ports(
            inference_http=free.inference_http,
            management_http=free.management_http,
            metrics_http=free.metrics_http,
            inference_grpc=other.getsockname()[1],
            management_grpc=free.management_grpc,
        )
        assert not taken.are_free()
        choices = iter([taken, free])
        monkeypatch.setattr(Ports, "pick", lambda: next(choices))
        supervisor = Supervisor(tmp_path)
        try:
            await supervisor.start()
            assert supervisor.endpoints.inference_grpc == f"{LOOPBACK}:{free.inference_grpc}"
        finally:
            await supervisor.stop(0)


@pytest.mark.parametrize(
    ("launch", "says"),
    [
        (Launch(java_options=("-XX:NoSuchOption",)), r"ended with status 1: .*NoSuchOption"),
        (Launch(start_timeout_s=0.2), r"did not answer within start_timeout_s = 0\.2"),
    ],
)
async def test_a_failed_start_tells_why_and_leaves_nothing(tmp_path: Path, launch: Launch, says: str) -> None:
    """The error has TorchServe's last words; no process and no folder stay."""
    children = set(psutil.Process().children(recursive=True))
    supervisor = Supervisor(tmp_path, launch)
    with pytest.raises(StartError, match=f"(?s){says}"):
        await supervisor.start()
    assert set(psutil.Process().children(recursive=True)) == children
    assert not supervisor.store.exists()


async def test_an_error_of_on_started_ends_the_start(tmp_path: Path) -> None:
    """What cannot be prepared the first time is not left running."""

    async def on_started() -> None:
        pids.append(supervisor.pid)
        raise UnavailableError("no model can be loaded")

    pids: list[int | None] = []
    supervisor = Supervisor(tmp_path, on_started=on_started)
    with pytest.raises(UnavailableError, match="no model"):
        await supervisor.start()
    assert pids[0] is not None
    assert not psutil.pid_exists(pids[0])


GATEWAY = """
import asyncio, pathlib, sys
from serve.supervisor import Supervisor

async def main():
    supervisor = Supervisor(pathlib.Path(sys.argv[1]))
    await supervisor.start()
    print("pids", supervisor.pid, supervisor.store.parent, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def killed_gateway(run_dir: Path) -> tuple[int, Path]:
    """Start a gateway's supervisor in a process of its own and kill that; gives Java's pid and the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(run_dir)], stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        line = next(line for line in gateway.stdout if line.startswith("pids"))
        gateway.kill()
    return int(line.split()[1]), Path(line.split()[2])


@pytest.mark.slow
async def test_torchserve_does_not_outlive_a_killed_gateway(tmp_path: Path) -> None:
    """After SIGKILL the kernel ends Java, and the next gateway sweeps the private folder."""
    java, private = await asyncio.to_thread(killed_gateway, tmp_path / "killed")
    await until(lambda: not psutil.pid_exists(java), 5)
    assert private in folders(private.parent)

    supervisor = Supervisor(tmp_path / "next")
    try:
        await supervisor.start()
        assert private not in folders(private.parent)
    finally:
        await supervisor.stop(0)


def test_restarts_in_a_row_are_spaced_out() -> None:
    """The first is at once, then 1, 2, 4, ... up to 32 seconds."""
    assert [pause_before(attempt) for attempt in range(9)] == [0, 1, 2, 4, 8, 16, 32, 32, 32]
    assert pause_before(10_000) == 32
