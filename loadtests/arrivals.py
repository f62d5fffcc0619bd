"""When requests are due in an open loop: at random at a rate that changes, or as a trace says.

Nobody who sends such a request waits for anybody else's answer, so that a gateway which is slow does not slow
down the load that it is measured under.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from loadtests.shapes import Shape

TIME: Final = "time"  # the column of a CSV file that is read


class TraceError(ValueError):
    """A file is no trace of arrivals; the message names the file and the line."""


def poisson(shape: Shape, seed: int, worker: int = 0, workers: int = 1) -> Iterator[float]:
    """Arrivals of a Poisson process whose rate is the shape's level.

    Gaps that are exponential with mean 1 are laid along the area below the shape; where each falls, the shape
    says the time (inversion; Cinlar, Introduction to Stochastic Processes, 1975, section 4.7; Lewis & Shedler
    1979, section 1). Each worker has a process of its own with its share of the rate, and processes that are
    independent add up to one with the whole rate.

    Args:
        shape: Requests a second.
        seed: At least 0; the same seed gives the same arrivals.
        worker: Index of who sends them, of `workers`.
        workers: How many send, each its own share.

    Yields:
        Seconds since the begin, in their order.
    """
    generator = np.random.default_rng((seed, worker))
    area = 0.0
    while (due := shape.reached(area := area + workers * generator.standard_exponential())) is not None:
        yield due


def share(times: Sequence[float], worker: int, workers: int) -> Sequence[float]:
    """Those of a trace's arrivals that one of several workers sends: every time is somebody's, once."""
    return times[worker::workers]


def trace(file: Path) -> tuple[float, ...]:
    """Read a trace: a number a line, or CSV whose column "time" has them; in seconds, in their order.

    Any clock will do: the first arrival is the begin.

    Returns:
        Seconds since the first arrival; at least one.

    Raises:
        TraceError: It cannot be read, or is no trace.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"trace {file}: cannot be read: {error}") from None
    times: list[float] = []
    for line, value in _column(file, text):
        time = _number(value)
        if time is None:
            raise TraceError(f"trace {file}, line {line}: {value!r} is no number of seconds")
        if times and time < times[-1]:
            raise TraceError(
                f"trace {file}, line {line}: {value} comes before {times[-1]:.15g}, the line above"
            )
        times.append(time)
    if not times:
        raise TraceError(f"trace {file}: has no arrival; one is a line with a number of seconds")
    return tuple(time - times[0] for time in times)


def _column(file: Path, text: str) -> Iterator[tuple[int, str]]:
    """Numbers of lines, and what stands in them; empty ones are left out."""
    rows = csv.reader(io.StringIO(text))
    column = 0
    for number, row in enumerate(rows):
        if not "".join(row).strip():
            continue
        if number == 0 and _number(row[0]) is None:
            column = _header(file, row)
        elif column >= len(row):
            raise TraceError(f"trace {file}, line {rows.line_num}: has no value for the column {TIME!r}")
        else:
            yield rows.line_num, row[column].strip()


def _header(file: Path, row: Sequence[str]) -> int:
    names = [name.strip() for name in row]
    if TIME not in names:
        raise TraceError(
            f"trace {file}, line 1: {', '.join(names)!r} has no column {TIME!r}, and is no number"
        )
    return names.index(TIME)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
