"""A report for a terminal: the verdict, whether it can be trusted, and the figures; the page has more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from serve.reporting.figures import count, utc
from serve.reporting.health import checks
from serve.reporting.metrics import metrics_table
from serve.reporting.node import Node
from serve.reporting.summary import summary
from serve.reporting.words import ALERTS, STATES
from serve.terminal.saying import head, say, table


def show_report(console: Console, document: Mapping[str, Any]) -> None:
    """Print a report as REST gives it; what is missing in it is left out."""
    report = Node(document)
    _verdict(console, report)
    _health(console, report)
    _guardrails(console, report)
    _metrics(console, report)
    _pairs(console, report)
    for note in report.texts("notes"):
        say(console)
        say(console, note)


def _verdict(console: Console, report: Node) -> None:
    state = report.text("state")
    words = [report.text("mode"), STATES.get(state, state), f"version {count(report.number('version'))}"]
    say(console, f"{report.text('experiment')}: {', '.join(words)}; {utc(report.moment('at'))}")
    found = summary(report, None)
    say(console)
    say(console, f"{found.badge.sign} {found.badge.text}", tone=found.badge.tone, bold=True)
    say(console, found.sentence)
    for standing in found.standings:
        say(console, f"{standing.badge.sign} {standing.arm}: {standing.sentence}", tone=standing.badge.tone)
    if len(found.standings) <= 1:
        for tile in found.tiles:
            say(console, f"  {tile.name}: {tile.value} ({tile.meaning})")
    if found.rule:
        say(console)
        say(console, found.rule)


def _health(console: Console, report: Node) -> None:
    found = checks(report.nodes("health"))
    if found:
        head(console, "Can it be trusted?")
    for check in found:
        alert = ALERTS.get(check.state, ALERTS[""])
        words = "; ".join(f"{arm}: {text}" if arm else text for arm, text in check.lines)
        say(console, f"{alert.sign} {check.title}: {words}", tone=alert.tone)


def _guardrails(console: Console, report: Node) -> None:
    found = report.nodes("guardrails")
    if found:
        head(console, "Guardrails")
    for row in found:
        alert = ALERTS.get(row.text("state"), ALERTS[""])
        line = f"{alert.sign} {row.text('title')}, {row.text('arm')}: {alert.text}. {row.text('words')}"
        say(console, line, tone=alert.tone)


def _metrics(console: Console, report: Node) -> None:
    groups = metrics_table(report.nodes("rows")).groups
    if not groups:
        return
    head(console, "Figures")
    # Who reads it as a table of a file needs the title in every row.
    every = not console.is_terminal
    cells = [
        (group.title if every or not index else "", line.name, line.estimate, line.interval, line.e, line.n)
        for group in groups
        for index, line in enumerate(group.lines)
    ]
    table(console, ("metric", "arm", "estimate", "interval", "e-value", "seen"), cells)
    head(console, "What they mean")
    for group in groups:
        say(console, f"{group.title}: {group.definition}")


def _pairs(console: Console, report: Node) -> None:
    for pairs in report.nodes("pair_tables"):
        head(console, f"The first image of each unit, both arms ({pairs.text('arm')} and the control)")
        cells = [(words, count(pairs.number(key))) for key, words in _PAIRS.items()]
        table(console, ("who was right", "units"), cells)


_PAIRS: Mapping[str, str] = {
    "both_right": "both",
    "control_right": "only the control",
    "arm_right": "only the arm",
    "both_wrong": "neither",
    "unlabelled_alike": "no label yet, same answer",
    "unlabelled_different": "no label yet, different answers: label these",
}
