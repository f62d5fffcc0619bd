"""`python -m loadtests.report.example`: the picture of a report for README, from a run that took place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from loadtests.example_report import photograph
from loadtests.report.against import BaselineError, read_baseline
from loadtests.report.page import page

PICTURE: Final = Path(__file__).with_name("example.png")
SCENARIO: Final = "steps"


def main(
    options: Annotated[
        list[str] | None, typer.Argument(help="Options of the run, behind a --.", metavar="OPTIONS")
    ] = None,
    *,
    report: Annotated[
        Path | None, typer.Option(help="A run's folder, instead of a new run.", metavar="FOLDER")
    ] = None,
    picture: Annotated[Path, typer.Option(help="Write it here; needs chromium.", metavar="FILE")] = PICTURE,
) -> None:
    """Make a run in steps, or take one that was made, and keep a picture of the top of its report."""
    with TemporaryDirectory() as folder:
        if report is None:
            report = Path(folder)
            _run(report, options or [])
        try:
            found = read_baseline(report).report
        except BaselineError as error:
            typer.echo(str(error).replace("--against", "--report", 1), err=True)
            raise typer.Exit(1) from None
    photograph(page(found), picture)


def _run(folder: Path, options: list[str]) -> None:
    """Make a run that leaves its report in that folder; what it complains of, it says itself."""
    command = [sys.executable, "-m", "loadtests", SCENARIO, "--report", str(folder), *options]
    done = subprocess.run(command, check=False)  # noqa: S603  the options are the caller's own
    if done.returncode:
        raise typer.Exit(done.returncode)


if __name__ == "__main__":
    typer.run(main)
