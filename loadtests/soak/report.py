"""What a soak says: the account, the gateway's health, and whether every figure keeps its limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loadtests.machine import Machine
from loadtests.soak.account import ALL, FIRST, LAST, differences
from loadtests.soak.drive import Course
from loadtests.soak.health import Health, Sample, health
from loadtests.soak.judge import End
from loadtests.soak.questions import Way

MOST_SLOPE_MB: Final = 20.0  # of memory, by 100,000 requests
LEAST_SPAN: Final = 10_000  # requests; before that the process still warms up
LEAST_SECONDS: Final = 30.0  # for a fault to come
MOST_CHANGE: Final = 5.0  # of open files, threads, child processes, tasks
MOST_SLOWER: Final = 1.2  # p99 of the last tenth, over the first's
LEAST_TIMED: Final = 5_000  # in either tenth; of fewer the p99 is chance
_PER: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for."""

    requests: int
    engine: str
    seed: int
    workers: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure beside its limit; `kept` is None where the run is too short to tell."""

    what: str
    figure: str
    limit: str
    kept: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is said of a run."""

    plan: Plan
    course: Course
    faults: Mapping[str, int]
    health: Health
    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        """Whether no limit was broken."""
        return all(check.kept is not False for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "plan": asdict(self.plan),
            "good": self.good,
            "seconds": round(self.course.seconds, 3),
            "requests a second": round(self.course.account.sent / self.course.seconds, 1),
            "account": self.course.account.as_json(),
            "gateway counted": {" ".join(key): count for key, count in sorted(self.course.counted.items())},
            "faults": dict(self.faults),
            "health": self.health.as_json(),
            "checks": [asdict(check) for check in self.checks],
            "samples": [asdict(sample) for sample in self.course.samples],
            "machine": asdict(Machine.here()),
            "versions": {name: version(name) for name in ("attnserve", "grpcio", "uvicorn", "numpy")},
        }


def conclude(plan: Plan, course: Course, faults: Mapping[str, int]) -> Report:
    """Compare what was seen with the limits."""
    found = health(course.samples)
    checks = (
        *_account_checks(course),
        *_health_checks(found),
        *_rest_checks(course.rests),
        _latency_check(course),
        *_faults(plan, course, faults),
    )
    return Report(plan=plan, course=course, faults=faults, health=found, checks=checks)


def _account_checks(course: Course) -> list[Check]:
    account = course.account
    lost, apart = account.total(End.LOST), differences(account, course.counted)
    return [
        Check(
            what="requests sent",
            figure=f"{account.sent:,}",
            limit=f"{account.requests:,}",
            kept=account.sent == account.requests,
        ),
        Check(what="lost or wrong", figure=f"{lost:,}", limit="0", kept=not lost),
        Check(
            what="unaccounted",
            figure=f"{account.unaccounted:,}",
            limit="0",
            kept=not account.unaccounted,
        ),
        Check(
            what="the gateway's own counts",
            figure="; ".join(apart) or "agree",
            limit="agree",
            kept=not apart,
        ),
    ]


def _health_checks(found: Health) -> list[Check]:
    # In a short run a slope is mostly the allocator's unrest: what counts there is the growth itself.
    most_mb = MOST_SLOPE_MB * max(1.0, found.span / _PER)
    long = found.span >= LEAST_SPAN
    memory = Check(
        what="memory after the first quarter",
        figure=f"{found.growth_mb:+.1f} MB in {found.span:,} requests",
        limit=f"{most_mb:.1f} MB",
        kept=found.growth_mb <= most_mb if long else None,
    )
    return [
        memory,
        *(
            Check(
                what=f"{what}: last quarter less second",
                figure="faults all the while" if change is None else f"{change:+g}",
                limit=f"{MOST_CHANGE:+g}",
                kept=change <= MOST_CHANGE if long and change is not None else None,
            )
            for what, change in found.changes.items()
        ),
    ]


def _rest_checks(rests: Sequence[Sample]) -> list[Check]:
    """What a run of any length can tell: at rest, no task of the requests is left."""
    before, after = (rest.tasks for rest in rests)
    if before is None or after is None:
        return []
    return [
        Check(
            what="tasks at rest: after less before",
            figure=f"{after - before:+d}",
            limit=f"{MOST_CHANGE:+g}",
            kept=after - before <= MOST_CHANGE,
        )
    ]


def _latency_check(course: Course) -> Check:
    first, last = (course.account.latencies[part] for part in (FIRST, LAST))
    what, limit = "p99 in quiet, last tenth over first", f"{MOST_SLOWER:g}"
    if min(first.count, last.count) < LEAST_TIMED:
        return Check(what=what, figure=f"{first.count} and {last.count} timed", limit=limit, kept=None)
    ratio = last.quantile(0.99) / first.quantile(0.99)
    return Check(what=what, figure=f"{ratio:.2f}", limit=limit, kept=ratio <= MOST_SLOWER)


def _faults(plan: Plan, course: Course, faults: Mapping[str, int]) -> list[Check]:
    if not plan.faults:
        return []
    done = sum(faults.values())
    kept = done > 0 or (None if course.seconds < LEAST_SECONDS else False)
    return [Check(what="faults injected", figure=str(done), limit="at least 1", kept=kept)]


def show(report: Report, console: Console) -> None:
    """Print the account and the checks for people."""
    console.print(_account_table(report))
    if report.faults:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(report.faults.items()))
        console.print(f"Faults injected: {faults}")
    console.print(_latency_line(report.course))
    last = report.health.last
    console.print(
        f"Gateway at the end: {last.rss_mb:.0f} MB, {last.files} files, {last.threads} threads; "
        f"{report.health.slope_mb:+.1f} MB a 100,000 requests"
    )
    console.print(_check_table(report.checks))
    for example in report.course.account.examples:
        console.print(f"lost: {example}", markup=False, soft_wrap=True)


def _account_table(report: Report) -> Table:
    account, seconds = report.course.account, report.course.seconds
    rate = account.sent / seconds
    title = f"{account.sent:,} requests in {seconds:.0f} s, {rate:.0f} a second, seed {report.plan.seed}"
    table = Table("end", "why", *(way.value for way in Way), "all", title=title, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    rows: Counter[tuple[End, str, str]] = Counter()
    for (way, end, reason), count in account.endings.items():
        rows[end, reason.partition(":")[0], way] += count  # the kinds of bad requests are one row here
    for end, why in sorted({(end, why) for end, why, _ in rows}, key=lambda one: _order(*one)):
        counts = [rows[end, why, way.value] for way in Way]
        table.add_row(end.value, why, *(f"{count:,}" for count in (*counts, sum(counts))))
    table.add_section()
    totals = [sum(rows[end, why, way.value] for end, why, one in rows if one == way.value) for way in Way]
    table.add_row("sent", "", *(f"{total:,}" for total in totals), f"{account.sent:,}")
    return table


def _order(end: End, reason: str) -> tuple[int, str]:
    return list(End).index(end), reason


def _latency_line(course: Course) -> str:
    latencies = course.account.latencies
    parts = [
        f"{part}: p50 {1e3 * found.quantile(0.5):.1f}, p99 {1e3 * found.quantile(0.99):.1f}"
        for part, found in ((ALL, latencies[ALL]), (FIRST, latencies[FIRST]), (LAST, latencies[LAST]))
    ]
    everything = course.account.all_latencies
    return (
        f"Milliseconds of right answers in quiet, {'; '.join(parts)}; "
        f"with those beside faults: p99 {1e3 * everything.quantile(0.99):.1f}"
    )


def _check_table(checks: Sequence[Check]) -> Table:
    words = {True: "[green]kept[/]", False: "[red]broken[/]", None: "too short to tell"}
    table = Table("figure", "found", "limit", "")
    for check in checks:
        table.add_row(check.what, check.figure, check.limit, words[check.kept])
    return table
