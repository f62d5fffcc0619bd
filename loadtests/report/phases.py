"""The phases of a run as they came to be: cut where it ended early, and a ramp in slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.exchanges import Exchanges
from loadtests.outcome import Phase, Run
from loadtests.report.windows import Span

SETTLING: Final = 0.2  # of a phase: in this first part queues fill and batches find their size
_SLICES: Final = 10
_SLICE_S: Final = 3.0  # a slice takes so long at least
_RISE: Final = 1.5  # last quarter of a ramp over its first
_FEWEST: Final = (
    400  # requests by which a rise of a half is told from chance: 3.5 standard errors of a quarter
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the run with one load; `load` as in `Phase`."""

    name: str
    load: float
    span: Span


def load_spans(run: Run) -> tuple[Span, ...]:
    """The phases that took place, as stretches of time; the whole run where it has none."""
    spans = tuple(Span(begins=phase.begins, ends=_end(phase, run)) for phase in _begun(run))
    return spans or (Span(begins=run.began, ends=max(run.ended, run.began + 1e-3)),)


def measured(run: Run) -> tuple[Stretch, ...]:
    """What the steps are measured on: phases without their settling, and the slices of ramps."""
    return tuple(part for phase in _begun(run) for part in _parts(phase, run))


def _begun(run: Run) -> tuple[Phase, ...]:
    return tuple(phase for phase in run.phases if phase.begins < _end(phase, run))


def _end(phase: Phase, run: Run) -> float:
    return min(phase.ends, run.ended)


def _parts(phase: Phase, run: Run) -> tuple[Stretch, ...]:
    span = Span(begins=phase.begins, ends=_end(phase, run))
    due = run.exchanges.where(span.covers(run.exchanges.due))
    if run.loop == "open" and _rises(due, span):
        return _slices(due, span, run.began)
    settled = Span(begins=span.begins + SETTLING * span.seconds, ends=span.ends)
    return (Stretch(name=phase.name, load=phase.load, span=settled),)


def _rises(exchanges: Exchanges, span: Span) -> bool:
    """Whether arrivals become more frequent all along: a ramp, of which a phase only tells the mean."""
    edges = np.linspace(span.begins, span.ends, 5)
    quarters = np.histogram(exchanges.due, edges)[0]
    steeper = quarters[-1] > _RISE * quarters[0] and bool((np.diff(quarters) > 0).all())
    return len(exchanges) >= _FEWEST and span.seconds >= 2 * _SLICE_S and bool(steeper)


def _slices(exchanges: Exchanges, span: Span, began: float) -> tuple[Stretch, ...]:
    count = min(_SLICES, int(span.seconds / _SLICE_S))
    width = span.seconds / count
    found = []
    for number in range(count):
        part = Span(begins=span.begins + number * width, ends=span.begins + (number + 1) * width)
        rate = int(part.covers(exchanges.due).sum()) / width
        name = f"{rate:.3g} a second, {part.begins - began:.0f} to {part.ends - began:.0f} s"
        found.append(Stretch(name=name, load=rate, span=part))
    return tuple(found)
