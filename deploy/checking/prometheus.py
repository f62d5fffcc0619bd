"""Prometheus: rules that it accepts, alerts that fire when they should, a configuration that it reads.

The rules are objects for the operator. What Prometheus itself reads takes their places in a copy of
deploy/monitoring, where the tests and the configuration find it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.checking import paths
from deploy.checking.outcome import Outcome, counted, without_program
from deploy.monitoring.rules_of import write_rules

HOW_TO_INSTALL = "apt install prometheus, or https://prometheus.io/download"
MONITORING = paths.DEPLOY / "monitoring"


def check_rules() -> Outcome:
    """Prometheus accepts every rule."""
    return _outcome("rule file", "check", "rules", "rules/*.yaml")


def check_tests() -> Outcome:
    """The tests of the rules pass: each alert fires, and does not, when it should."""
    return _outcome("test file", "test", "rules", "tests/*.yaml")


def check_configuration() -> Outcome:
    """Prometheus reads the configuration that is for one without the operator."""
    return _outcome("configuration", "check", "config", "prometheus.yaml")


@contextmanager
def plain_files() -> Iterator[Path]:
    """A folder with deploy/monitoring as a Prometheus without the operator would have it."""
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as name:
        folder = Path(name)
        shutil.copytree(MONITORING, folder, dirs_exist_ok=True)
        write_rules(folder / "rules")  # over the objects, under the same names
        yield folder


def promtool(*arguments: str) -> list[str]:
    """What promtool complains about; nothing where it is content, and never nothing where it is not."""
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["promtool", *arguments],  # noqa: S607 - the user's promtool
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return []
    lines = (line.strip() for line in (done.stdout + done.stderr).splitlines())
    said = [
        line for line in lines if line and not line.startswith(("Checking ", "SUCCESS", "Unit Testing: "))
    ]
    return said or [f"promtool ended with status {done.returncode} and did not say why"]


def _outcome(noun: str, command: str, kind: str, pattern: str) -> Outcome:
    if shutil.which("promtool") is None:
        return without_program("promtool", HOW_TO_INSTALL)
    with plain_files() as folder:
        files = sorted(map(str, folder.glob(pattern)))
        if not files:
            return Outcome(problems=[f"deploy/monitoring/{pattern}: there is none"])
        said = promtool(command, kind, *files)
        return Outcome(
            looked_at=counted(len(files), noun),
            problems=[line.replace(str(folder), "deploy/monitoring") for line in said],
        )
