"""A run against the saved reports of earlier ones: did it become worse?"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy.stats import norm, t

from loadtests.report.document import FORMAT, Comparison, Figure, Report, Row, Step
from loadtests.report.ratios import FAILURES, Side, mean, ratio
from loadtests.report.verdicts import GOOD_REPLIES, GOOD_TOLERANCE, Pair, compared
from loadtests.report.windows import Ends

TOLERANCE: Final = 0.1
ALPHA: Final = 0.05  # of all comparisons together
# With fewer than so many baselines nobody has measured what differs from run to run: two runs of the same
# thing on one machine are then taken to differ by ASSUMED_SPREAD (standard deviation of the logarithm).
FEWEST: Final = 3
ASSUMED_SPREAD: Final = 0.1
_LATENCIES: Final = ("p50", "p95", "p99")
_SAME_LOAD: Final = 0.1
_GROUPS: Final = ("all", "way", "model")
_DOCUMENT: Final = TypeAdapter(Report)
_Z: Final = float(norm.ppf(0.975))


class BaselineError(ValueError):
    """A file cannot be compared with; the message names it and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """An earlier run; `name` is its file."""

    name: str
    report: Report

    @property
    def models(self) -> frozenset[str]:
        """Those that it asked."""
        return models_of(self.report.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """Of this run, what is compared, and what has to be alike."""

    scenario: str
    loop: str
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]


def read_baseline(path: Path) -> Baseline:
    """Read a report.json, or the one in a folder.

    Raises:
        BaselineError: There is none, or it is of another version.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise BaselineError(f"--against: {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BaselineError(f"--against: {file} is no JSON, and must be a report.json: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise BaselineError(f"--against: {file} has the format {found!r}, must be {FORMAT}: make it anew")
    try:
        return Baseline(name=str(path), report=_DOCUMENT.validate_python(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BaselineError(f"--against: {file} is no report: {place}: {first['msg']}") from error


def check_comparable(baseline: Baseline, scenario: str, loop: str, models: Collection[str]) -> None:
    """Refuse a baseline that did something else than a run, or is to do; models by the names that answer.

    Raises:
        BaselineError: It did.
    """
    theirs = baseline.report
    pairs = (
        ("scenario is", theirs.scenario, scenario),
        ("loop is", theirs.loop, loop),
        ("models are", _listed(baseline.models), _listed(models)),
    )
    for what, before, now in pairs:
        if before != now:
            raise BaselineError(
                f"--against: {baseline.name} cannot be compared: its {what} {before!r}, now {now!r}"
            )


def models_of(rows: Sequence[Row]) -> frozenset[str]:
    """The models that rows are of."""
    return frozenset(row.name for row in rows if row.group == "model")


def compare(
    now: Present, baselines: Sequence[Baseline], tolerance: float = TOLERANCE
) -> tuple[Comparison, ...]:
    """A run's percentiles and good replies, and in a closed loop its throughput, with those of baselines.

    An open loop's throughput is given by its arrivals. A run of several steps is compared step by step, as
    the percentiles of all of them together belong to no load. Intervals of ratios are made so wide that, by
    chance within runs, all of them together miss one in about 5 % of runs at most (Bonferroni). What differs
    from run to run comes on top: with `FEWEST` baselines or more as wide as Student's prediction interval for
    one more run like them, in 95 % for each figure by itself; with fewer as `ASSUMED_SPREAD` has it.

    Raises:
        BaselineError: As `check_comparable`.
    """
    for baseline in baselines:
        check_comparable(baseline, now.scenario, now.loop, models_of(now.rows))
    if not baselines:
        return ()
    matched = list(_matched(now, baselines))
    scale = float(norm.ppf(1 - ALPHA / 2 / len(matched))) / _Z if matched else 1.0
    return tuple(_compared(match, scale, tolerance) for match in matched)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Requests that are compared: a step of a run, or a row of one that has a single step.

    Attributes:
        name: For people.
        load: As in `Step`.
        kept: Whether it was carried; figures of a queue that only grows say how long it grew.
        figures: Of the response time, by name.
    """

    name: str
    load: float
    kept: bool
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """A figure of this run and of every baseline.

    Attributes:
        figure: Its name.
        of: Of which requests.
        unit: Of the values.
        now: Of this run.
        before: Of the baselines.
        doubt: Why nothing follows from it; "" when something may.
    """

    figure: str
    of: str
    unit: str
    now: Side
    before: tuple[Side, ...]
    doubt: str


def _matched(now: Present, baselines: Sequence[Baseline]) -> Iterator[_Match]:
    ours = _parts(now.rows, now.steps)
    theirs = [_parts(baseline.report.rows, baseline.report.steps) for baseline in baselines]
    names = ("throughput", *_LATENCIES) if now.loop == "closed" else _LATENCIES
    for key, part in ours.items():
        before = [other[key] for other in theirs if key in other]
        if len(before) == len(theirs) and any(one.kept for one in (part, *before)):
            for name in (FAILURES, *names):
                yield from _match(name, part, before)


def _match(name: str, part: _Part, before: Sequence[_Part]) -> Iterator[_Match]:
    """One, where every run has the figure with its interval."""
    figures = [one.figures[name] for one in (part, *before)]
    sides = [side for figure in figures if (side := Side.of(figure))]
    if len(sides) == len(figures):
        yield _Match(
            figure=GOOD_REPLIES if name == FAILURES else name,
            of=part.name,
            unit=figures[0].unit,
            now=sides[0],
            before=tuple(sides[1:]),
            doubt=_other_load(part.load, [one.load for one in before]),
        )


def _other_load(now: float, before: Sequence[float]) -> str:
    """Whether a load differs so much that latencies must differ, too; "" when not."""
    far = [load for load in before if abs(load - now) > _SAME_LOAD * now]
    return f"no verdict, as the load was {far[0]:.4g} and is {now:.4g}" if far else ""


def _parts(rows: Sequence[Row], steps: Sequence[Step]) -> dict[tuple[str, str], _Part]:
    """By what makes them alike: the steps' places, or the rows' groups and names."""
    if len(steps) > 1:
        return {
            ("step", str(place)): _part(
                f"step {place}, {step.name}", step.response, step.load, kept=step.kept
            )
            for place, step in enumerate(steps, 1)
        }
    load = steps[0].load if steps else 0.0
    shown = [row for row in rows if row.group in _GROUPS]
    return {
        (row.group, row.name): _part(row.name, row.response, load, kept=True)
        for row in shown
        if row.group == "all" or row.requests < rows[0].requests
    }


def _part(name: str, figures: Sequence[Figure], load: float, *, kept: bool) -> _Part:
    return _Part(name=name, load=load, kept=kept, figures={figure.name: figure for figure in figures})


def _compared(match: _Match, scale: float, tolerance: float) -> Comparison:
    before = mean(match.before)
    ends = _with_spread(ratio(match.now, before, scale), match)
    pair = Pair(
        figure=match.figure,
        of=match.of,
        unit=match.unit,
        baseline=before.value,
        now=match.now.value,
        than="the baseline",
    )
    most = GOOD_TOLERANCE if match.figure == GOOD_REPLIES else tolerance
    return compared(pair, ends, most, doubt=match.doubt)


def _with_spread(ends: Ends, match: _Match) -> Ends:
    """An interval that allows for what differs from run to run."""
    logs, count = [side.log for side in match.before], len(match.before)
    difference, once_more = match.now.log - float(np.mean(logs)), math.sqrt(1 + 1 / count)
    if count < FEWEST:
        if match.figure == GOOD_REPLIES:  # all but 1 in any run that is well
            return ends
        reach = _Z * ASSUMED_SPREAD * once_more  # one for all figures: a slow hour slows all of them
        low, high = (math.hypot(reach, end - difference) for end in (ends.low, ends.high))
        return Ends(low=difference - low, high=difference + high)
    reach = float(t.ppf(0.975, count - 1)) * float(np.std(logs, ddof=1)) * once_more
    return Ends(low=min(ends.low, difference - reach), high=max(ends.high, difference + reach))


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
