"""A time axis, in UTC; places on it are Unix times."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from matplotlib.axes import Axes

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 4, 7, 14, 28, 56, 112, 182, 365)),
)
_MOST_TICKS = 8


def time_axis(axes: Axes, first: float, last: float) -> None:
    """Make the horizontal axis one of time, from the first to the last Unix time."""
    last = max(last, first + _MINUTE)
    step = next(
        (step for step in _STEPS if (last - first) / step < _MOST_TICKS), (last - first) / _MOST_TICKS
    )
    ticks = [step * place for place in range(math.ceil(first / step), math.floor(last / step) + 1)]
    room = 0.012 * (last - first)
    axes.set_xlim(first - room, last + room)
    axes.set_xticks(ticks, [_name(at, step) for at in ticks])
    axes.set_xlabel(f"time (UTC), until {_day(last)} {datetime.fromtimestamp(last, UTC):%Y}")


def _name(at: float, step: float) -> str:
    return _day(at) if step >= _DAY else f"{datetime.fromtimestamp(at, UTC):%H:%M}\n{_day(at)}"


def _day(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%b}"
