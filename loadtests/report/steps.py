"""The steps of a run: what each showed once it had settled, and whether its load was carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtests.exchanges import Exchanges
from loadtests.outcome import Run, Slo
from loadtests.report.document import Step
from loadtests.report.figures import throughput
from loadtests.report.gateway import Change, changes, cores, means
from loadtests.report.phases import Stretch, measured
from loadtests.report.rows import by_both_clocks
from loadtests.report.windows import Bootstrap, Windows

KEPT_UP: Final = 0.98  # of the requests that arrived have a right reply in the same time
SLOW: Final = 0.01  # share of requests that may take longer than the promise's p99


def steps(run: Run) -> tuple[Step, ...]:
    """One for each phase, or slice of a ramp, in which requests were due."""
    found = changes(run.snapshots)
    return tuple(_step(run, stretch, found) for stretch in measured(run))


def _step(run: Run, stretch: Stretch, found: tuple[Change, ...]) -> Step:
    span = stretch.span
    due = run.exchanges.where(span.covers(run.exchanges.due))
    bootstrap = Bootstrap.of(Windows.of([span]))
    both = by_both_clocks(due, bootstrap, throughput(run.exchanges, bootstrap))
    inside = [change for change in found if span.begins <= change.middle < span.ends]
    mean = means(inside)
    why = _why(run, stretch, due)
    return Step(
        name=stretch.name,
        load=stretch.load,
        begins=span.begins - run.began,
        ends=span.ends - run.began,
        response=both.response,
        service=both.service,
        mean_batch=mean.batch,
        queue_ms=mean.queue_ms,
        inference_ms=mean.inference_ms,
        handler_ms=mean.handler_ms,
        gateway_cores=cores(inside),
        kept=not why,
        why=why,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """Of a step: requests that were due, of them too slow and failed; right replies that came meanwhile."""

    due: int
    slow: int
    failed: int
    answered: int
    seconds: float


def _why(run: Run, stretch: Stretch, due: Exchanges) -> str:
    """Why a load was not carried; "" when it was."""
    span, everything = stretch.span, run.exchanges
    count = _Count(
        due=len(due),
        slow=int((due.response_ms > run.slo.p99_ms).sum()),
        failed=int(due.failed.sum()),
        answered=int((~everything.failed & span.covers(everything.ended)).sum()),
        seconds=span.seconds,
    )
    if not count.due:
        return "no request was due"
    reasons = [_behind(count, run.slo) if run.loop == "open" else "", *_broken(count, run.slo)]
    return "; ".join(reason for reason in reasons if reason)


def _behind(count: _Count, slo: Slo) -> str:
    """Whether answers fell behind arrivals: by 2 %, and by more than may be under way within the promise.

    The second keeps short steps from being judged by the requests that happen to be under way at their ends.
    """
    missing = count.due - count.answered
    under_way = count.due / count.seconds * slo.p99_ms / 1e3
    if missing <= max((1 - KEPT_UP) * count.due, under_way):
        return ""
    came, went = count.due / count.seconds, count.answered / count.seconds
    return f"{came:.3g} a second arrived, {went:.3g} were answered well"


def _broken(count: _Count, slo: Slo) -> tuple[str, str]:
    slow, failed = count.slow / count.due, count.failed / count.due
    return (
        f"{percent(slow)} took longer than {slo.p99_ms:g} ms, and {percent(SLOW)} may" if slow > SLOW else "",
        f"{percent(failed)} failed, and {percent(slo.failures)} may" if failed > slo.failures else "",
    )


def percent(share: float) -> str:
    """In words, with three telling digits."""
    return f"{100 * share:.3g} %"
