"""The figures of a set of requests, with intervals that hold though neighbouring requests are alike.

An interval is the percentile interval of the resamples of `loadtests.report.windows`, taken on the logarithm
and widened about the measured value for the small number of blocks. How often it holds the truth is simulated
in tests/loadtests/test_report_figures.py: for p99 of a minute of an M/M/1 queue, in 93, 94 and 77 % of runs
at 20, 50 and 80 % of its capacity; intervals that take requests for independent hold it in 82, 57 and 20 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.stats import beta, norm

from loadtests.exchanges import Exchanges, Floats, Mask
from loadtests.report.document import PERCENTILES, Figure
from loadtests.report.percentiles import BIN_WIDTH, Histograms, fewest, logarithm, percentiles
from loadtests.report.windows import Bootstrap, Ends

LEVEL: Final = 0.95
_Z: Final = float(norm.ppf((1 + LEVEL) / 2))


def percentile_name(q: float) -> str:
    """0.999 is "p99.9"."""
    return f"p{100 * q:g}"


def throughput(exchanges: Exchanges, bootstrap: Bootstrap) -> Figure:
    """Right replies a second: those that came within the windows, whenever their requests were due."""
    span = bootstrap.windows.span
    ended = exchanges.ended[~exchanges.failed & span.covers(exchanges.ended)]
    value = len(ended) / span.seconds
    if not bootstrap.enough or not value:
        return Figure(name="throughput", unit="1/s", value=value, n=len(ended))
    windows = bootstrap.windows
    counts = np.bincount(windows.of_times(ended), minlength=len(windows)).astype(np.float64)
    rates = (bootstrap.draws @ counts) / (bootstrap.draws @ np.diff(windows.edges))
    with np.errstate(divide="ignore"):
        logs = np.log(rates)
    ends = bootstrap.interval(logs, math.log(value), level=LEVEL, rounding=0.0)
    return _figure("throughput", "1/s", value, ends, len(ended))


def failures(exchanges: Exchanges, bootstrap: Bootstrap) -> Figure:
    """The share that failed, of the requests that were due within the windows.

    The interval is Clopper and Pearson's with an effective number of requests, after Korn and Graubard 1998
    (Survey Methodology 24(2), 193 to 201): failures come in bursts, and n of them then say as much as
    n / (variance of the share among resamples / variance if they were independent). It holds with none, too.
    """
    failed = exchanges.failed
    n, k = len(failed), int(failed.sum())
    if not n or not bootstrap.enough:
        return Figure(name="failures", unit="share", value=k / n if n else None, n=n)
    effective = n / _design_effect(exchanges, failed, bootstrap) if k else n
    low, high = clopper_pearson(effective * (k / n), effective)
    return Figure(name="failures", unit="share", value=k / n, low=low, high=high, n=n)


def clopper_pearson(events: float, n: float) -> tuple[float, float]:
    """Interval of a share (Clopper and Pearson 1934) by quantiles of the beta distribution; n above 0.

    Both may be fractions, such as effective numbers.
    """
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, events, n - events + 1)) if events > 0 else 0.0
    high = float(beta.ppf(1 - tail, events + 1, n - events)) if events < n else 1.0
    return low, high


def durations(measured: Floats, failed: Mask) -> Floats:
    """Durations as percentiles count them: a request that failed is slower than every answer."""
    return np.where(failed, np.inf, measured)


def percentile_figures(waited: Floats, due: Floats, bootstrap: Bootstrap) -> tuple[Figure, ...]:
    """The percentiles of `loadtests.report.document.PERCENTILES`.

    Args:
        waited: N durations in ms, infinite for requests that failed.
        due: When each was due, within the windows.
        bootstrap: Of these windows.
    """
    n = len(waited)
    qs = [q for q in PERCENTILES if n >= fewest(q)]
    values = dict(zip(qs, percentiles(waited, qs), strict=True))
    ends = _percentile_ends(waited, due, bootstrap, values)
    return tuple(
        _figure(percentile_name(q), "ms", _finite(values.get(q)), ends.get(q), n) for q in PERCENTILES
    )


def _percentile_ends(
    waited: Floats, due: Floats, bootstrap: Bootstrap, values: Mapping[float, float]
) -> dict[float, Ends]:
    finite = {q: value for q, value in values.items() if math.isfinite(value)}
    if not bootstrap.enough or not finite:
        return {}
    windows = bootstrap.windows
    histograms = Histograms.of(waited, windows.of_times(due), len(windows))
    logs = histograms.logs(bootstrap.draws, list(finite))
    found = {
        q: bootstrap.interval(row, logarithm(value), level=LEVEL, rounding=BIN_WIDTH / 2)
        for row, (q, value) in zip(logs, finite.items(), strict=True)
    }
    return _ordered({q: ends for q, ends in found.items() if ends})


def _ordered(found: Mapping[float, Ends]) -> dict[float, Ends]:
    """Intervals of percentiles, ascending, cut by what is known anyway: none lies below a lower percentile.

    Few blocks make an interval wide, and without this that of p99 would reach below all of p50's.
    """
    lows = np.maximum.accumulate([ends.low for ends in found.values()])
    highs = np.minimum.accumulate([ends.high for ends in found.values()][::-1])[::-1]
    return {
        q: Ends(low=float(low), high=float(high)) for q, low, high in zip(found, lows, highs, strict=True)
    }


def _figure(name: str, unit: str, value: float | None, ends: Ends | None, n: int) -> Figure:
    if value is None or ends is None:
        return Figure(name=name, unit=unit, value=value, n=n)
    return Figure(
        name=name,
        unit=unit,
        value=value,
        low=math.exp(ends.low),
        high=math.exp(ends.high),
        log_se=(ends.high - ends.low) / (2 * _Z),
        n=n,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _design_effect(exchanges: Exchanges, failed: Mask, bootstrap: Bootstrap) -> float:
    """Variance of the share that failed, over that of independent failures; at least 1.

    It is larger by as much as Student's t, for the blocks there are, is wider than the normal distribution.
    """
    windows = bootstrap.windows
    at, share = windows.of_times(exchanges.due), float(failed.mean())
    if share in {0.0, 1.0}:
        return 1.0
    totals = bootstrap.draws @ np.bincount(at, minlength=len(windows)).astype(np.float64)
    broken = bootstrap.draws @ np.bincount(at, weights=failed, minlength=len(windows))
    shares = broken[totals > 0] / totals[totals > 0]
    spread = float(np.mean((shares - share) ** 2)) * bootstrap.widening(LEVEL) ** 2
    return max(1.0, spread * len(failed) / (share * (1 - share)))
