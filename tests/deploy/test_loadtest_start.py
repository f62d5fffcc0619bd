"""The program in the load test's pod: puts the command together, keeps the report, ends in good order."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from deploy.checking.kustomize import build
from deploy.checking.paths import DEPLOY
from deploy.images import loadtest_start
from loadtests.running.wish import Wish

COMPONENT = DEPLOY / "components" / "loadtest"
PROGRAM = DEPLOY / "images" / "loadtest_start.py"
VARIABLES = {"LOADTEST": "steps --rate 80 --models 'a, b'", "WORKERS": "4", "KEEP_S": "1"}

ENDS_WITH_5 = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("runs", flush=True)
time.sleep(60)
"""


def test_the_variables_become_options() -> None:
    """They are split as a shell splits them, and follow what the pod says of the gateway."""
    command = loadtest_start.command(["--remote"], VARIABLES)
    assert command[1:] == [
        *("-m", "loadtests", "--remote", "--workers=4"),
        *("steps", "--rate", "80", "--models", "a, b"),
    ]


@pytest.mark.parametrize("name", VARIABLES)
def test_a_missing_variable_is_named(name: str) -> None:
    """An empty one is missing, too."""
    with pytest.raises(SystemExit, match=f"{name}: is not set"):
        loadtest_start.command([], VARIABLES | {name: ""})


def test_the_pods_options_are_ones_that_there_are() -> None:
    """Every option of the master's Job, and of the variable, is one of the command's."""
    job = yaml.safe_load((COMPONENT / "loadtest-master-job.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    lines = (COMPONENT / "loadtest.env").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    names = _options(loadtest_start.command(container["args"], variables))
    assert {"host", "grpc", "metrics", "report", "workers", "rate"} <= names
    assert names <= set(Wish.__slots__)


@pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")
def test_the_readmes_overlay_does_what_it_says(tmp_path: Path) -> None:
    """It builds, its options are ones that there are, and as many workers come as are waited for."""
    text = (COMPONENT / "README.md").read_text(encoding="utf-8")
    indented = text[text.index("    apiVersion: kustomize") : text.index("Run it, and fetch")]
    deploy = os.path.relpath(DEPLOY, tmp_path.resolve())
    overlay = textwrap.dedent(indented).replace("[../", f"[{deploy}/")
    (tmp_path / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    manifests = build(tmp_path)
    (data,) = (one["data"] for one in manifests if "LOADTEST" in one.get("data", {}))
    (workers,) = (one["spec"] for one in manifests if one["metadata"]["name"] == "loadtest-worker")
    assert workers["parallelism"] == workers["completions"] == int(data["WORKERS"]) > 2
    assert "--rate" in data["LOADTEST"]
    assert _options(loadtest_start.command([], data)) <= set(Wish.__slots__)


def test_the_status_is_the_load_tests_and_comes_when_the_report_was_kept() -> None:
    """A load test that failed fails its Job, but not before somebody could fetch the report."""
    begun = time.monotonic()
    done = _start("import sys; sys.exit(3)", keep_s=0.5)
    output, _ = done.communicate(timeout=30)
    assert done.returncode == 3
    assert time.monotonic() - begun >= 0.5
    assert "ended with status 3; its report is kept for 0.5 s" in output


@pytest.mark.parametrize(
    ("load", "says", "status"),
    [
        # While the load runs it is ended, and its own end is waited for; afterwards only the waiting is.
        (ENDS_WITH_5, "runs", 5),
        ("", "is kept", 0),
    ],
)
def test_sigterm_ends_the_load_or_the_waiting(load: str, says: str, status: int) -> None:
    """Nobody waits for a grace period."""
    started = _start(load, keep_s=60)
    assert started.stdout
    while says not in started.stdout.readline():
        assert started.poll() is None
    started.send_signal(signal.SIGTERM)
    assert started.wait(30) == status
    started.stdout.close()


def _options(command: list[str]) -> set[str]:
    """The options' names, as fields of `Wish`."""
    return {word[2:].partition("=")[0].replace("-", "_") for word in command if word.startswith("--")}


def _start(load: str, keep_s: float) -> subprocess.Popen[str]:
    """The program's `run` with another load."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(PROGRAM).parent)!r}); import loadtest_start; "
        f"sys.exit(loadtest_start.run([sys.executable, '-c', {load!r}], {keep_s}))"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
