"""How the gateway's process fares over a run: memory, open files, threads, children, tasks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import psutil

LEAST_SAMPLES: Final = 8  # two in each quarter
LEAST_QUIET: Final = 2  # samples of a quarter in which no engine was broken; of fewer nothing is said
_MB: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The process at one moment.

    Attributes:
        requests: Sent until then.
        rss_mb: Memory, in MB of 10^6 bytes.
        tasks: Of its event loop; None where nobody tells.
        quiet: Whether every engine was well: beside a fault requests wait, with a task and a connection each.
    """

    requests: int
    rss_mb: float
    files: int
    threads: int
    children: int
    tasks: int | None = None
    quiet: bool = True


def take(process: psutil.Process, requests: int, tasks: int | None, *, quiet: bool) -> Sample:
    """Look at a process.

    Raises:
        psutil.NoSuchProcess: It has ended.
    """
    with process.oneshot():
        return Sample(
            requests=requests,
            rss_mb=process.memory_info().rss / _MB,
            files=process.num_fds(),
            threads=process.num_threads(),
            children=len(process.children(recursive=True)),
            tasks=tasks,
            quiet=quiet,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the samples come to.

    Attributes:
        slope_mb: MB of memory that 100,000 requests add, after the first quarter (least squares).
        growth_mb: What that comes to from the end of the first quarter to the end of the run.
        span: Requests of that part.
        changes: What is to stay flat -> median of the last quarter less that of the second, of samples in
            quiet; None where one of the two has fewer than `LEAST_QUIET`.
        last: The last sample.
    """

    slope_mb: float
    growth_mb: float
    span: int
    changes: dict[str, float | None]
    last: Sample

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def health(samples: Sequence[Sample]) -> Health:
    """Sum the samples of a run up.

    Args:
        samples: At least `LEAST_SAMPLES`, in the order of the requests.

    Raises:
        ValueError: There are fewer.
    """
    if len(samples) < LEAST_SAMPLES:
        raise ValueError(f"samples: {len(samples)} are too few, at least {LEAST_SAMPLES} are needed")
    quarter = len(samples) // 4
    later = samples[quarter:]
    requests = np.array([sample.requests for sample in later], np.float64)
    slope = float(np.polyfit(requests, [sample.rss_mb for sample in later], 1)[0])
    span = later[-1].requests - later[0].requests
    return Health(
        slope_mb=1e5 * slope,
        growth_mb=slope * span,
        span=span,
        changes={
            what: _change(samples[quarter : 2 * quarter], samples[-quarter:], what)
            for what in ("files", "threads", "children", "tasks")
            if samples[-1].tasks is not None or what != "tasks"
        },
        last=samples[-1],
    )


def _change(before: Sequence[Sample], after: Sequence[Sample], what: str) -> float | None:
    quiet = [[getattr(sample, what) for sample in part if sample.quiet] for part in (before, after)]
    if min(map(len, quiet)) < LEAST_QUIET:
        return None
    first, last = map(statistics.median, quiet)
    return float(last - first)
