"""What a report says in sentences: its findings, and what stands against believing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from loadtests.exchanges import Exchanges
from loadtests.outcome import Run
from loadtests.report.against import ASSUMED_SPREAD, FEWEST, Baseline
from loadtests.report.document import Comparison, Figure, Knee, Row, Step
from loadtests.report.percentiles import fewest
from loadtests.report.steps import percent
from loadtests.report.verdicts import BETTER, SAME, WORSE
from loadtests.report.windows import FEWEST_WINDOWS, Bootstrap
from loadtests.report.written import figure_of, one, span
from loadtests.running.generators import warnings as generator_warnings

_CLOCK_MS: Final = 1.0
_HIDDEN: Final = 1.2  # times the service time's p99 from which waiting is worth a sentence
_MOST_TOLD: Final = 3
_ASKED: Final = ("client", "tags", "without tags", "units", "deadline", "feedback")  # must be alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What sentences are made of; see `loadtests.report.document.Report`."""

    run: Run
    bootstrap: Bootstrap
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]
    knee: Knee | None
    arms: tuple[Comparison, ...]
    baselines: tuple[Baseline, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def headline(facts: Facts) -> tuple[str, ...]:
    """The findings, the most important first."""
    if not facts.rows[0].requests:
        return ("Nothing was measured: no request was sent.",)
    found = (
        _differences(facts.run),
        facts.knee.text if facts.knee else "",
        _stopped(facts.run),
        _carried(facts),
        _latency(facts.rows[0]),
        _hidden(facts),
        *_promise(facts),
        _recovered(facts.run),
        _verdict(facts.comparisons, _beside(facts)),
        _verdict(facts.arms, "Between the arms"),
    )
    return tuple(sentence for sentence in found if sentence)


def warnings(facts: Facts) -> tuple[str, ...]:
    """What makes the figures doubtful."""
    exchanges = facts.run.exchanges
    if not len(exchanges):
        return generator_warnings(facts.run)
    found = (*generator_warnings(facts.run), *_few(facts), *_clock(exchanges), *_against(facts))
    return tuple(sentence for sentence in found if sentence)


def _differences(run: Run) -> str:
    if run.differences:
        return f"The gateway counted other requests than were sent: {'; '.join(run.differences)}."
    return ""


def _stopped(run: Run) -> str:
    return f"The run stopped {run.ended - run.began:.0f} s in: {run.stopped}." if run.stopped else ""


def _carried(facts: Facts) -> str:
    row, seconds = facts.rows[0], facts.bootstrap.windows.span.seconds
    answered = f"{one(figure_of(row.response, 'throughput'))} were answered well"
    failed = f"{row.failures or 'none'} of {row.requests} failed"
    if facts.run.loop != "open":
        return f"In {seconds:.0f} s {answered}; {failed}."
    return f"In {seconds:.0f} s {row.requests / seconds:.4g} a second arrived and {answered}; {failed}."


def _latency(row: Row) -> str:
    figures = [figure_of(row.response, name) for name in ("p99", "p95", "p90", "p50")]
    known = [figure for figure in figures if figure and figure.value is not None]
    if not known:
        return ""
    said = dict.fromkeys((_within(known[0]), _within(known[-1])))
    return f"Over the whole run {' and '.join(said)}."


def _within(figure: Figure) -> str:
    interval = span(figure)
    known = f" ({interval})" if interval else ""
    share = "half" if figure.name == "p50" else f"{figure.name[1:]} %"
    return f"{share} had the right reply within {one(figure)}{known}"


def _hidden(facts: Facts) -> str:
    """What a closed loop's clock, which starts when a request is sent, would have left out."""
    due, sent = (figure_of(figures, "p99") for figures in (facts.rows[0].response, facts.rows[0].service))
    if not (due and sent and due.value and sent.value) or due.value < _HIDDEN * sent.value:
        return ""
    return (
        f"Counted from when requests were sent and not from when they were due, p99 would be {one(sent)}: "
        "the rest they waited to be sent."
    )


def _promise(facts: Facts) -> Iterator[str]:
    """Of a run without a knee: whether each of its steps was carried."""
    slo = facts.run.slo
    promise = f"99 % within {slo.p99_ms:g} ms and at most {percent(slo.failures)} failures"
    broken = [step for step in facts.steps if not step.kept]
    if facts.knee is None and facts.steps and not broken:
        yield f"The promise was kept: {promise}."
    if facts.knee is None:
        yield from (f"The promise ({promise}) broke at {step.name}: {step.why}." for step in broken)


def _recovered(run: Run) -> str:
    """Of a load that falls again: how long requests were late, or failed, that were due after the fall."""
    falls = [later.begins for before, later in pairwise(run.phases) if later.load < before.load]
    if not falls or falls[0] > run.ended:
        return ""
    after = run.exchanges.where(run.exchanges.due >= falls[0])
    late = after.due[(after.response_ms > run.slo.p99_ms) | after.failed]
    if not len(late):
        return "From the moment at which the load fell every request was answered well and in time."
    return (
        f"After the load had fallen {len(late)} requests were late or failed, the last of them due "
        f"{late.max() - falls[0]:.1f} s after that: so long it took to recover."
    )


def _beside(facts: Facts) -> str:
    count = len(facts.baselines)
    return "Against the baseline" if count == 1 else f"Against the {count} baselines"


def _verdict(comparisons: Sequence[Comparison], where: str) -> str:
    if not comparisons:
        return ""
    told = [one.sentence for one in comparisons if one.verdict in {WORSE, BETTER}]
    if told:
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        return f"{where}: {'; '.join(told[:_MOST_TOLD])}{more}."
    if all(one.doubt for one in comparisons):
        return f"{where} nothing can be concluded: {comparisons[0].doubt}."
    same = sum(one.verdict == SAME for one in comparisons)
    unclear = len(comparisons) - same
    doubt = f", {unclear} are too uncertain to tell" if unclear else ""
    count = f"{same} of {len(comparisons)} figures are the same within the tolerance"
    return f"{where} no difference was found: {count}{doubt}."


def _few(facts: Facts) -> Iterator[str]:
    requests = facts.rows[0].requests
    if not facts.bootstrap.enough:
        yield f"The run is too short for intervals, which need {FEWEST_WINDOWS} s of one load."
    if requests < fewest(0.99):
        yield f"{requests} requests are too few for p99, which needs {fewest(0.99)}."
    short = [step.name for step in facts.steps if len(facts.steps) > 1 and not _has_interval(step)]
    if short:
        yield f"Steps too short, or with too few requests, for an interval of p50: {', '.join(short)}."


def _has_interval(step: Step) -> bool:
    median = figure_of(step.response, "p50")
    return median is not None and (median.value is None or median.low is not None)


def _clock(exchanges: Exchanges) -> Iterator[str]:
    backwards = (exchanges.service_ms < -_CLOCK_MS) | (exchanges.late_ms < -_CLOCK_MS)
    if count := int(np.count_nonzero(backwards)):
        yield f"The clock was set back during the run: {count} requests ended before they began."


def _against(facts: Facts) -> Iterator[str]:
    baselines = facts.baselines
    if baselines and not facts.comparisons:
        yield "Nothing could be compared: no figure has an interval in this run and in every baseline."
    if 0 < len(baselines) < FEWEST:
        yield (
            f"With fewer than {FEWEST} baselines nobody has measured how much runs differ by themselves: "
            f"they are taken to differ by {100 * ASSUMED_SPREAD:.0f} %, so that smaller changes stay unclear."
        )
    ours = facts.run.machine.get("processor", "")
    for baseline in baselines:
        for name in _ASKED:
            before, now = (options.get(name, "") for options in (baseline.report.options, facts.run.options))
            if before != now:
                change = f"{before or 'none'}, now {now or 'none'}"
                yield f"{baseline.name} asked otherwise: its {name} was {change}."
        theirs = baseline.report.machine.get("processor", "")
        if theirs and ours and theirs != ours:
            yield f"{baseline.name} was made on another machine: {theirs}, and not {ours}."
