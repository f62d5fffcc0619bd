"""Locust's processes: one, or a master with its workers; started, measured, waited for, and ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.running.generators import Generators, measuring
from serve import die_with_parent

START_TIMEOUT_S: Final = 120.0
ANSWER_TIMEOUT_S: Final = 60  # for the last answers, so that no request is left uncounted
END_TIMEOUT_S: Final = 20.0
RESULT: Final = "result.json"
EXCHANGES: Final = "exchanges.jsonl.gz"
_POLL_S: Final = 0.1
_LOG_LINES: Final = 20
_LOOPBACK: Final = "127.0.0.1"


class LaunchError(Exception):
    """Locust did not do its work; the message carries the end of a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What Locust is to do.

    Attributes:
        locustfile: Which users.
        arguments: For Locust and the locustfile.
        seconds: How long the load takes.
        workers: Processes that make it, under a master; 0: a single one does it all.
        folder: For logs and results.
        token: Bearer token, handed on where no list of processes shows it.
        remote_workers: Whether the workers are started elsewhere, and come to Locust's usual port.
    """

    locustfile: Path
    arguments: tuple[str, ...]
    seconds: float
    workers: int
    folder: Path
    token: str = ""
    remote_workers: bool = False

    def commands(self) -> dict[str, list[str]]:
        """Name of each process -> its command; who concludes comes first."""
        results = ["--result", str(self.folder / RESULT), "--exchanges", str(self.folder / EXCHANGES)]
        program = [sys.executable, "-m", "locust", "-f", str(self.locustfile), "--skip-log-setup"]
        common = [*program, *self.arguments, *results]
        headless = ["--headless", "--stop-timeout", str(ANSWER_TIMEOUT_S)]
        if not self.workers:
            return {"locust": [*common, *headless]}
        port = str(_free_port())
        bound = ["--master-bind-host", _LOOPBACK, "--master-bind-port", port]
        patience = ["--expect-workers-max-wait", f"{START_TIMEOUT_S:.0f}"]
        leads = [*headless, "--master", "--expect-workers", str(self.workers), *patience]
        if self.remote_workers:
            return {"master": [*common, *leads]}
        works = [*common, "--worker", "--master-host", _LOOPBACK, "--master-port", port]
        workers = {f"worker {number + 1}": works for number in range(self.workers)}
        return {"master": [*common, *leads, *bound], **workers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What came of a job.

    Attributes:
        status: Locust's exit code.
        result: What the locustfile wrote.
        exchanges: File with every request.
        generators: What its processes have used.
    """

    status: int
    result: Mapping[str, Any]
    exchanges: Path
    generators: Generators


def launch(job: Job) -> Launched:
    """Run Locust to its end.

    Raises:
        LaunchError: There is no place for its files; or it ended before it counted anything, lost a worker,
            or did not end at all.
        subprocess.TimeoutExpired: After Ctrl-C it did not conclude.
    """
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"--report: {job.folder} cannot be written: {error.strerror}") from None
    for name in (RESULT, EXCHANGES):
        (job.folder / name).unlink(missing_ok=True)
    with _running(job) as processes, measuring(_by_pid(processes)) as generators:
        status = _wait(job, processes)
    file = job.folder / RESULT
    if not file.exists():
        raise LaunchError(f"locust ended with status {status} before it counted anything:\n{_tails(job)}")
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Launched(status=status, result=result, exchanges=job.folder / EXCHANGES, generators=generators)


def _by_pid(processes: Mapping[str, subprocess.Popen[bytes]]) -> dict[int, str]:
    return {process.pid: name for name, process in processes.items()}


@contextmanager
def _running(job: Job) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start every process; whatever happens, none is left at the end of the block."""
    environment = {**os.environ, **({"ATTNSERVE_TOKEN": job.token} if job.token else {})}
    # They must not outlive us even when we are killed, and Ctrl-C is ours to hand on.
    prefix = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in job.commands().items():
            with _log(job, name).open("wb") as log:
                processes[name] = subprocess.Popen(  # noqa: S603  our own
                    [*prefix, *command],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        yield processes
    finally:
        _end(list(processes.values()))


def _wait(job: Job, processes: Mapping[str, subprocess.Popen[bytes]]) -> int:
    """Wait for who concludes; its exit status.

    Ctrl-C, and SIGTERM where it ends us likewise, end the load early, and what was measured is kept.
    """
    concludes, *workers = processes.values()
    try:
        _watch(job, concludes, workers)
    except (KeyboardInterrupt, SystemExit):
        concludes.terminate()  # not SIGINT, which shells have their background jobs ignore
        concludes.wait(ANSWER_TIMEOUT_S)
    return int(concludes.returncode)


def _watch(job: Job, concludes: subprocess.Popen[bytes], workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until it has ended; raises LaunchError when it will not, or has lost a worker."""
    ends = time.monotonic() + START_TIMEOUT_S + job.seconds + ANSWER_TIMEOUT_S + END_TIMEOUT_S
    lost: float | None = None  # when the first worker was seen to be gone
    while concludes.poll() is None:
        now = time.monotonic()
        if lost is None and any(worker.poll() is not None for worker in workers):
            lost = now
        # Who concludes waits for the last answers of the others, and then says itself what is lost.
        if lost is not None and now > lost + ANSWER_TIMEOUT_S + END_TIMEOUT_S:
            raise LaunchError(f"a worker of locust ended before its work was done:\n{_tails(job)}")
        if now > ends:
            raise LaunchError(f"locust did not end by itself:\n{_tails(job)}")
        time.sleep(_POLL_S)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask them to end, each by its id, and kill what does not."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    ends = time.monotonic() + END_TIMEOUT_S
    for process in processes:
        try:
            process.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _log(job: Job, name: str) -> Path:
    return job.folder / f"{name.replace(' ', '-')}.log"


def _tails(job: Job) -> str:
    logs = sorted(job.folder.glob("*.log"))
    tails = ((log.name, log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) for log in logs)
    return "\n".join(line for name, lines in tails if lines for line in (f"{name}:", *lines))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
