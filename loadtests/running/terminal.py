"""A report on the terminal: what one has to know, in two tables and some lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from loadtests.report.document import Comparison, Figure, Report, Row, Step
from loadtests.report.verdicts import UNCLEAR
from loadtests.report.written import bare, ends, figure_of
from loadtests.tally import Tally

_PERCENTILES: Final = ("p50", "p90", "p99", "p99.9")
_MOST_FAILURES: Final = 8
_MOST_UNCLEAR: Final = 3
_GROUPS: Final = ("all", "way", "model", "arm")  # the page has those by kind of question, too


def show(report: Report, tally: Tally, console: Console) -> None:
    """Print tables of the requests and of the steps, and what was found."""
    console.print(_rows([row for row in report.rows if row.group in _GROUPS]))
    if len(report.steps) > 1:
        console.print(_steps(report.steps))
    for line in _lines(report, tally):
        console.print(line, markup=False, soft_wrap=True)


def _rows(rows: Sequence[Row]) -> Table:
    table = Table(
        title="Response time in ms, from when a request was due (95 % interval)", box=box.SIMPLE_HEAD
    )
    table.add_column("")
    for name in ("requests", "failed", "per second", *_PERCENTILES):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        rate = bare(figure_of(row.response, "throughput"))
        times = (_with_interval(figure_of(row.response, name)) for name in _PERCENTILES)
        table.add_row(row.name, f"{row.requests}", f"{row.failures}", rate, *times)
    return table


def _steps(steps: Sequence[Step]) -> Table:
    title = (
        "Steps: answers a second, response times, images a batch, wait in the gateway, cores of its process"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("load", no_wrap=True)
    for name in ("answered", "p50 ms", "p99 ms", "batch", "queue ms", "cores"):
        table.add_column(name, justify="right")
    table.add_column("carried")
    for step in steps:
        table.add_row(step.name, *_of_step(step), "yes" if step.kept else f"no: {step.why}")
    return table


def _of_step(step: Step) -> list[str]:
    times = (bare(figure_of(step.response, name)) for name in ("throughput", "p50", "p99"))
    others = (step.mean_batch, step.queue_ms, step.gateway_cores)
    return [*times, *("–" if value is None else f"{value:.2f}" for value in others)]


def _with_interval(figure: Figure | None) -> str:
    interval = ends(figure)
    return f"{bare(figure)} ({interval})" if interval else bare(figure)


def _lines(report: Report, tally: Tally) -> Iterator[str]:
    yield from report.headline
    yield from _compared((*report.comparisons, *report.arms))
    yield from _of_capacity(report.capacity or {})
    if tally.judged:
        yield f"Labels: {tally.right} of {tally.judged} images got theirs ({tally.accuracy:.2%})."
    yield from _failures(report, tally)
    for line in report.differences:
        yield f"counts differ: {line}"
    if report.differences:
        yield "Counts agree only while nobody else calls the gateway, and with that gateway's own metrics."
    if not report.differences:
        sent = tally.requests.total()
        yield f"The gateway counted the same {sent} requests, by model, protocol and outcome."
    yield from (f"warning: {line}" for line in report.warnings)


def _compared(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What is known, and how much is not: of the latter the report has the figures."""
    known = [found for found in comparisons if found.verdict != UNCLEAR]
    yield from (found.sentence for found in known or comparisons[:_MOST_UNCLEAR])
    if left := len(comparisons) - len(known or comparisons[:_MOST_UNCLEAR]):
        yield f"{left} more comparisons are too uncertain; the report has them."


def _failures(report: Report, tally: Tally) -> Iterator[str]:
    """How many requests ended how, and the commonest faults; of those that are shed each is another."""
    if not report.failures:
        return
    ends = Counter[str]()
    for kind, count in tally.requests.items():
        ends[kind.outcome] += count
    yield f"Requests ended: {', '.join(f'{count} {outcome}' for outcome, count in ends.most_common())}."
    for one in report.failures[:_MOST_FAILURES]:
        yield f"failed: {one.count} x {one.way}, {one.kind}: {one.fault}"
    if len(report.failures) > _MOST_FAILURES:
        yield "failed: others, which the report has"


def _of_capacity(answer: Mapping[str, Any]) -> Iterator[str]:
    yield from answer.get("sentences", ())
    target = answer.get("autoscaling") or {}
    yield from (target[name] for name in ("hpa", "keda") if name in target)
