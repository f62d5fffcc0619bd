"""`python -m loadtests.example_report`: the report of an experiment whose traffic is simulated.

Nothing but the traffic is invented: the versions, the sums, the looks and the verdict come from the code that
makes real ones. The seed is fixed, so that the page is the same every time.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from loadtests.sorting_line import HOUR, LABELS, SortingLine
from serve.core.accounting import Known, Rules, UnitKey
from serve.core.designs import design_of
from serve.core.edits import NOTHING, Stamp, Wanted, create, moved
from serve.core.evidence import ArmEvidence, Evidence, PhaseEvidence
from serve.core.experiment import WHOLE, Experiment, State
from serve.core.record import CallRecord, Outcome
from serve.core.report import evaluate, look
from serve.core.settling import Settling
from serve.core.tally import UnitTally
from serve.experiments.reports import FullReport
from serve.reporting.page import page

SEED = 4
START = 1_767_589_200.0  # 5 January 2026, 05:00 UTC
HOURS = 190
HOURS_BETWEEN_LOOKS = 4
# Width and height of the picture, in pixels.
SIZE = "1100,1880"

DESIGN = {
    "name": "sorter-v4",
    "description": "SIMULATED DATA, to show what a report looks like. Does version 4 of a sorter of "
    "recyclables make fewer mistakes than version 3, and is it as fast?",
    "mode": "paired",
    "arms": [
        {"name": "v3", "model": "sorter", "version": "3", "weight": 5000},
        {"name": "v4", "model": "sorter", "version": "4", "weight": 5000},
    ],
    "ramp": 1000,
    "margin": 0.01,
    "planned_units": 10_000,
    "guardrails": [
        {"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01},
        {"metric": "slo_exceedance", "threshold_ms": 50, "max_ratio": 1.5, "alpha": 0.01},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that a person does, so many hours after the start."""

    hour: float
    act: str
    author: str
    reason: str
    wanted: Wanted = NOTHING


STORY = (
    Step(
        hour=0,
        act="start",
        author="mara",
        reason="Plan reviewed with the line's owners",
        wanted=Wanted(labels_of={"v3": LABELS, "v4": LABELS}),
    ),
    Step(
        hour=20,
        act="ramp",
        author="mara",
        reason="A quiet day: no errors, latency as expected",
        wanted=Wanted(ramp=2500),
    ),
    Step(hour=44, act="pause", author="joao", reason="Camera 4 is being cleaned"),
    Step(hour=50, act="resume", author="joao", reason="Camera 4 is back"),
    Step(hour=68, act="ramp", author="mara", reason="All checks are fine", wanted=Wanted(ramp=WHOLE)),
)


@dataclass(slots=True)
class Books:
    """What the ledger would hold."""

    rules: Rules
    units: dict[UnitKey, UnitTally] = field(default_factory=dict)
    sums: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    latency: defaultdict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def settle(self, calls: list[CallRecord], outcomes: list[Outcome]) -> None:
        """Write down a batch."""
        known: dict[str, Known] = {}
        settling = Settling(rules=self.rules, known=known, units=self.units)
        for call in calls:
            settling.record(call)
        for outcome in outcomes:
            settling.outcome(outcome)
        changes = settling.changes()
        self.units |= changes.units
        for (_, arm, name), value in changes.sums.items():
            self.sums[arm][name] += value
        for (_, arm, bucket), value in changes.latency.items():
            self.latency[arm][bucket] += value

    def evidence(self, phases: tuple[tuple[int, ...], ...]) -> Evidence:
        """All that is known."""
        arms = tuple(
            ArmEvidence(sums=dict(self.sums[arm]), latency=dict(self.latency[arm])) for arm in (0, 1)
        )
        return Evidence(phases=(PhaseEvidence(phase=0, weights=phases[0], arms=arms),), since=START)


def document(seed: int = SEED, hours: int = HOURS) -> dict[str, Any]:
    """What `serve.reporting.page` reads, after so many hours of the simulated experiment."""
    history = list(versions(hours))
    line, books, looks = SortingLine(seed), Books(rules=Rules.of(history[-1])), []
    for hour in range(hours):
        at = START + HOUR * hour
        version = [found for found in history if found.effective_at <= at][-1]
        if version.state is State.RUNNING:
            books.settle(*line.hour(version, at))
        if hour % HOURS_BETWEEN_LOOKS == HOURS_BETWEEN_LOOKS - 1:
            looks.append(look(evaluate(version, books.evidence(version.phases), at + HOUR)))
    at = START + HOUR * hours
    full = FullReport(
        experiment=history[-1],
        report=evaluate(history[-1], books.evidence(history[-1].phases), at),
        looks=tuple(looks),
        history=tuple(history),
        made_at=at,
    )
    return full.to_json()


def versions(hours: int, start: float = START) -> Iterator[Experiment]:
    """The versions up to that hour after the start, a Unix time."""
    stamp = Stamp(
        author="mara",
        reason="Version 4 won on the held-out images",
        created_at=start - 17 * HOUR,
        effective_at=start - 17 * HOUR,
    )
    version = create(design_of(DESIGN), stamp)
    yield version
    for step in STORY:
        if step.hour <= hours:
            at = start + HOUR * step.hour
            stamp = Stamp(author=step.author, reason=step.reason, created_at=at - 4, effective_at=at)
            version = moved(version, step.act, stamp, step.wanted)
            yield version


def main(
    *,
    html: Annotated[Path | None, typer.Option(help="Write the page here.", metavar="FILE")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture of its top here; needs chromium.", metavar="FILE")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write its figures here.", metavar="FILE")
    ] = None,
) -> None:
    """Draw the report of a simulated experiment."""
    figures = document()
    text = page(figures)
    if file:
        file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if html:
        html.write_text(text, "utf-8")
    if picture:
        photograph(text, picture)


def photograph(text: str, picture: Path) -> None:
    """Open a page in Chromium, without a window, and keep a picture of its top."""
    with TemporaryDirectory() as folder:
        source = Path(folder) / "report.html"
        source.write_text(text, "utf-8")
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(
                f"--user-data-dir={folder}/profile",
                f"--window-size={SIZE}",
                f"--screenshot={picture.absolute()}",
            ),
            source.as_uri(),
        ]
        subprocess.run(command, check=True, timeout=60, capture_output=True)  # noqa: S603  a fixed command


if __name__ == "__main__":
    typer.run(main)
