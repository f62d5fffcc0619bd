"""Dockerfiles and YAML as text: hadolint and yamllint."""

import subprocess
from pathlib import Path

from deploy.checking import paths
from deploy.checking.outcome import Outcome, counted, without_program

HOW_TO_INSTALL = "`make deploy-check` does, into the virtual environment"


def check_dockerfiles() -> Outcome:
    """Every Dockerfile is one that hadolint has nothing to say about."""
    if not (paths.TOOLS / "hadolint").is_file():
        return without_program("hadolint", HOW_TO_INSTALL)
    files = paths.dockerfiles()
    problems = [line for path in files for line in check_dockerfile(path)]
    return Outcome(looked_at=counted(len(files), "Dockerfile"), problems=problems)


def check_yaml() -> Outcome:
    """So is all YAML below deploy/ for yamllint."""
    if not (paths.TOOLS / "yamllint").is_file():
        return without_program("yamllint", HOW_TO_INSTALL)
    files = [*paths.DEPLOY.rglob("*.yaml"), *paths.DEPLOY.rglob("*.yml")]
    configuration = paths.ROOT / ".yamllint.yaml"
    command = [str(paths.TOOLS / "yamllint"), "--strict", "-f", "parsable", "-c", str(configuration)]
    return Outcome(
        looked_at=counted(len(files), "file"), problems=_lines_of_failure([*command, paths.DEPLOY.name])
    )


def check_dockerfile(path: Path) -> list[str]:
    """What hadolint says of a Dockerfile."""
    return _lines_of_failure([str(paths.TOOLS / "hadolint"), "--no-color", str(path)])


def _lines_of_failure(command: list[str]) -> list[str]:
    # yamllint's configuration names .gitignore and folders, which it looks for where it runs.
    done = subprocess.run(  # noqa: S603 - fixed programs
        command, cwd=paths.ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode == 0:
        return []
    said = (done.stdout + done.stderr).splitlines()
    return said or [f"{Path(command[0]).name} ended with status {done.returncode} and did not say why"]
