"""Locust's processes: how they are started, and that none outlives its run."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from loadtests.running import launch as launching
from loadtests.running.launch import EXCHANGES, RESULT, Job, LaunchError, launch

CONCLUDE = f"import pathlib; pathlib.Path('{{folder}}', '{RESULT}').write_text('{{{{\"tally\": 1}}}}')"
WAIT = (
    "import os, pathlib, time; pathlib.Path('{folder}', 'pid').write_text(str(os.getpid())); time.sleep(60)"
)
WAIT_FOR_OTHER = "import pathlib, time\nwhile not pathlib.Path('{folder}', 'pid').exists(): time.sleep(.01)\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted(Job):
    """Processes that do something else than Locust's would."""

    scripts: dict[str, str] = field(default_factory=dict)

    def commands(self) -> dict[str, list[str]]:
        return {
            name: [sys.executable, "-c", script.format(folder=self.folder)]
            for name, script in self.scripts.items()
        }


def job(folder: Path, workers: int = 0) -> Job:
    """Any."""
    return Job(locustfile=Path("x.py"), arguments=("--a", "b"), seconds=1, workers=workers, folder=folder)


def scripted(folder: Path, token: str = "", **scripts: str) -> Scripted:
    """Processes that run these."""
    return Scripted(
        locustfile=Path("x.py"),
        arguments=(),
        seconds=0,
        workers=0,
        folder=folder,
        token=token,
        scripts=scripts,
    )


def test_one_process_makes_the_load_alone(tmp_path: Path) -> None:
    """Headless, with the files that it is to write."""
    (command,) = job(tmp_path).commands().values()
    assert command[:3] == [sys.executable, "-m", "locust"]
    assert "--headless" in command
    assert "--master" not in command
    assert command[command.index("--result") + 1] == str(tmp_path / RESULT)
    assert command[command.index("--exchanges") + 1] == str(tmp_path / EXCHANGES)


def test_a_master_waits_for_its_workers_on_a_port_of_its_own(tmp_path: Path) -> None:
    """Loopback's; they are told the same port and the same options, and another run gets another port."""
    commands = job(tmp_path, workers=3).commands()
    assert list(commands) == ["master", "worker 1", "worker 2", "worker 3"]
    master = commands["master"]
    assert master[master.index("--expect-workers") + 1] == "3"
    assert master[master.index("--master-bind-host") + 1] == "127.0.0.1"
    port = master[master.index("--master-bind-port") + 1]
    for name in list(commands)[1:]:
        worker = commands[name]
        assert "--headless" not in worker
        assert worker[worker.index("--master-port") + 1] == port
        assert worker[worker.index("--a") + 1] == master[master.index("--a") + 1] == "b"


def test_what_is_concluded_is_read_and_what_was_left_is_not(tmp_path: Path) -> None:
    """Files of an earlier run are gone before this one starts."""
    for name in (RESULT, EXCHANGES):
        (tmp_path / name).write_bytes(gzip.compress(b"old"))
    launched = launch(scripted(tmp_path, locust=CONCLUDE))
    assert (launched.status, launched.result) == (0, {"tally": 1})
    assert not launched.exchanges.exists()


def test_the_token_is_not_in_any_command(tmp_path: Path) -> None:
    """A list of processes would show it; the environment does not."""
    found = "dict(token=os.environ['ATTNSERVE_TOKEN'])"
    script = f"import json, os; json.dump({found}, open('{{folder}}/{RESULT}', 'w'))"
    run = scripted(tmp_path, token="secret", locust=script)  # noqa: S106  it is none
    assert launch(run).result == {"token": "secret"}
    real = Job(locustfile=Path("x"), arguments=(), seconds=1, workers=1, folder=tmp_path, token="secret")  # noqa: S106
    assert "secret" not in json.dumps(real.commands())


def test_workers_are_ended_when_the_work_is_done(tmp_path: Path) -> None:
    """One that would stay is gone when the run has ended."""
    launch(scripted(tmp_path, master=WAIT_FOR_OTHER + CONCLUDE, worker=WAIT))
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_without_a_result_the_end_of_the_logs_is_told(tmp_path: Path) -> None:
    """And the status, and nothing is left running."""
    with pytest.raises(LaunchError, match=r"(?s)status 3 before it counted.*master.log:\nno such option"):
        launch(
            scripted(
                tmp_path,
                master=WAIT_FOR_OTHER + "import sys; print('no such option'); sys.exit(3)",
                worker=WAIT,
            )
        )
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_lost_worker_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the load is not the load that was asked for."""
    for name in ("ANSWER_TIMEOUT_S", "END_TIMEOUT_S"):
        monkeypatch.setattr(launching, name, 0.1)
    with pytest.raises(LaunchError, match=r"(?s)a worker .* ended before .*worker-1.log:\nout of memory"):
        launch(scripted(tmp_path, **{"master": WAIT, "worker 1": "print('out of memory')"}))


def test_a_run_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that it may take at most."""
    for name in ("START_TIMEOUT_S", "ANSWER_TIMEOUT_S", "END_TIMEOUT_S"):
        monkeypatch.setattr(launching, name, 0.1)
    with pytest.raises(LaunchError, match="did not end by itself"):
        launch(scripted(tmp_path, locust="import time; time.sleep(60)"))
