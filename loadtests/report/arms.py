"""The arms of an experiment as their callers saw them: do they differ in latency, or in failures?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import norm

from loadtests.exchanges import Exchanges, Floats
from loadtests.report.document import Comparison
from loadtests.report.figures import durations, failures, percentile_name
from loadtests.report.percentiles import BIN_WIDTH, Histograms, fewest, logarithm, percentiles
from loadtests.report.ratios import Side, ratio
from loadtests.report.rows import Group
from loadtests.report.verdicts import GOOD_REPLIES, GOOD_TOLERANCE, Pair, compared
from loadtests.report.windows import Bootstrap

TOLERANCE: Final = 0.05
LEVEL: Final = 0.99  # of each figure's interval
_QS: Final = (0.5, 0.9, 0.99)
_SCALE: Final = float(norm.ppf((1 + LEVEL) / 2) / norm.ppf(0.975))


def arms(
    groups: Sequence[Group], bootstrap: Bootstrap, experiment: Mapping[str, Any] | None
) -> tuple[Comparison, ...]:
    """Every arm against the control, which is the first by name where no experiment says which it is.

    Both arms answered in the same seconds, so that what slowed one slowed the other: they are compared in
    each resample of the same windows (a paired bootstrap), which takes that out of their ratio.

    Args:
        groups: Of the run; those of arms are taken.
        bootstrap: Of the run's windows.
        experiment: The gateway's report of it, where there is one.
    """
    found = [group for group in groups if group.group == "arm"]
    named = (experiment or {}).get("control")
    found.sort(key=lambda group: (group.name != named, group.name))
    if not bootstrap.enough:
        return ()
    return tuple(comparison for other in found[1:] for comparison in _compared(found[0], other, bootstrap))


def _compared(control: Group, arm: Group, bootstrap: Bootstrap) -> Iterator[Comparison]:
    both = (control.exchanges, arm.exchanges)
    smaller = min(map(len, both))
    qs = [q for q in _QS if smaller >= fewest(q)]
    if not qs:
        return
    yield from _good(control, arm, bootstrap)
    waited = [durations(one.response_ms, one.failed) for one in both]
    drawn = [_drawn(one, times, bootstrap, qs) for one, times in zip(both, waited, strict=True)]
    values = [percentiles(times, qs) for times in waited]
    for row, q in enumerate(qs):
        before, now = (found[row] for found in values)
        if not math.isfinite(before + now) or min(before, now) <= 0:
            continue
        with np.errstate(invalid="ignore"):
            logs = drawn[1][row] - drawn[0][row]
        value = logarithm(now) - logarithm(before)
        ends = bootstrap.interval(logs, value, level=LEVEL, rounding=BIN_WIDTH)
        if ends:
            yield compared(_pair(percentile_name(q), "ms", (control, arm), (before, now)), ends, TOLERANCE)


def _drawn(exchanges: Exchanges, waited: Floats, bootstrap: Bootstrap, qs: Sequence[float]) -> Floats:
    windows = bootstrap.windows
    histograms = Histograms.of(waited, windows.of_times(exchanges.due), len(windows))
    return histograms.logs(bootstrap.draws, qs)


def _good(control: Group, arm: Group, bootstrap: Bootstrap) -> Iterator[Comparison]:
    """Of the share of good replies, from both arms' own intervals: often there is no failure to draw."""
    before, now = (Side.of(failures(group.exchanges, bootstrap)) for group in (control, arm))
    if before and now:
        pair = _pair(GOOD_REPLIES, "share", (control, arm), (before.value, now.value))
        yield compared(pair, ratio(now, before, _SCALE), GOOD_TOLERANCE)


def _pair(figure: str, unit: str, groups: tuple[Group, Group], values: tuple[float, float]) -> Pair:
    return Pair(
        figure=figure,
        of=f"arm {groups[1].name}",
        unit=unit,
        baseline=values[0],
        now=values[1],
        than=f"arm {groups[0].name}",
    )
