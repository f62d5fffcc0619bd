"""Dockerfiles and YAML as text: hadolint and yamllint."""

import subprocess
from pathlib import Path

from deploy.checking import paths
from deploy.checking.outcome import Outcome, counted


def check_dockerfiles() -> Outcome:
    """Every Dockerfile is one that hadolint has nothing to say about."""
    files = paths.dockerfiles()
    problems = [line for path in files for line in check_dockerfile(path)]
    return Outcome(looked_at=counted(len(files), "Dockerfile"), problems=problems)


def check_yaml() -> Outcome:
    """So is all YAML below deploy/ for yamllint."""
    files = [*paths.DEPLOY.rglob("*.yaml"), *paths.DEPLOY.rglob("*.yml")]
    configuration = paths.ROOT / ".yamllint.yaml"
    command = [str(paths.TOOLS / "yamllint"), "--strict", "-f", "parsable", "-c", str(configuration)]
    return Outcome(
        looked_at=counted(len(files), "file"), problems=_lines_of_failure([*command, str(paths.DEPLOY)])
    )


def check_dockerfile(path: Path) -> list[str]:
    """What hadolint says of a Dockerfile."""
    return _lines_of_failure([str(paths.TOOLS / "hadolint"), "--no-color", str(path)])


def _lines_of_failure(command: list[str]) -> list[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - fixed programs
    return (done.stdout + done.stderr).splitlines() if done.returncode else []
