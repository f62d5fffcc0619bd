"""The capacity model beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtests.report.document import Report
from loadtests.report.forecast import Forecast, Guess, Judged, forecast
from loadtests.report.plots_shared import BROKEN, SHADES, line, log_axis, number
from loadtests.report.written import three
from serve.reporting.canvas import COLOURS, INK, QUIET, canvas, grid, inline
from serve.reporting.figures import setting
from serve.reporting.node import Node

SHOWN: Final = ("p50", "p99")
_BAND: Final = "#e3edf7"
_NEAR: Final = (0.5, 2.0)
_ROOM: Final = 1.1


def draw_capacity(report: Report) -> Markup | None:
    """Predicted latency against load with what was measured above, predicted over measured below."""
    found = forecast(report)
    if found is None or not (found.steps or found.answer.nodes("curve")):
        return None
    with canvas(5.8) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _latency(above, found)
        _knee(above, found.answer)
        _misses(below, found.steps)
        loads = [step.rate for step in found.steps] + [number(p.number("rate")) for p in _curve(found)]
        below.set_xlim(0, 1.05 * max(loads))
        below.set_xlabel("requests a second")
        grid(above, "both")
        grid(below, "both")
        figure.legend(*above.get_legend_handles_labels(), loc="outside upper left", ncols=4)
        return inline(
            figure,
            name="capacity",
            title="Predicted and measured latency against load",
            description=_said(found),
        )


def _curve(found: Forecast) -> list[Node]:
    """Without points that have no rate."""
    return [point for point in found.answer.nodes("curve") if point.number("rate") is not None]


def _latency(axes: Axes, found: Forecast) -> None:
    points = _curve(found)
    for name in SHOWN:
        values = [point.number(name) for point in points]
        rates = [number(point.number("rate")) for point in points]
        line(axes, rates, values, color=SHADES[name], linewidth=1.6, label=f"{name} predicted")
        _dots(axes, found.steps, name, lambda guess: guess.measured, "measured")
    promise = found.answer.number("p99_ms")
    if promise is not None:
        axes.axhline(
            promise, color=INK, linewidth=0.9, linestyle=(0, (5, 2)), label=f"promise: {setting(promise)} ms"
        )
    measured = [step.guesses[name].measured for step in found.steps for name in SHOWN]
    # The last points of the curve, next to saturation, are far above all else.
    log_axis(axes, [promise, *measured, *(point.number(SHOWN[0]) for point in points)])
    axes.set_ylabel("response time (ms, logarithmic)")


def _dots(
    axes: Axes, steps: Sequence[Judged], name: str, value: Callable[[Guess], float | None], what: str = ""
) -> None:
    """A dot for each step; with `what` the legend has them."""
    for held_out, marker, beside in ((False, "o", ""), (True, "D", ", held out")):
        shown = [step for step in steps if step.held_out is held_out]
        axes.plot(
            [step.rate for step in shown],
            [number(value(step.guesses[name])) for step in shown],
            linestyle="none",
            marker=marker,
            markersize=6,
            markerfacecolor="white" if held_out else SHADES[name],
            color=SHADES[name],
            label=f"{name} {what}{beside}" if what else None,
        )


def _knee(axes: Axes, answer: Node) -> None:
    knee = answer.node("knee")
    low, high = knee.number("low"), knee.number("high")
    if low is not None and high is not None:
        axes.axvspan(low, high, color=_BAND, linewidth=0, zorder=0.5)
    for key, word, shade, style in (
        ("predicted", "knee, predicted", COLOURS[1], "-"),
        ("carried", "carried", COLOURS[3], (0, (4, 2))),
        ("broken", "broke", BROKEN, (0, (2, 2))),
    ):
        at = knee.number(key)
        if at is not None:
            label = f"{word}: {three(at)}"
            axes.axvline(at, color=shade, linewidth=1.2, linestyle=style, label=label)


def _misses(axes: Axes, steps: Sequence[Judged]) -> None:
    for name in SHOWN:
        line(
            axes,
            [step.rate for step in steps],
            [step.guesses[name].ratio for step in steps],
            color=SHADES[name],
            linewidth=1.0,
        )
        _dots(axes, steps, name, lambda guess: guess.ratio)
    axes.axhline(1, color=INK, linewidth=0.9)
    known = [step.guesses[name].ratio or 1.0 for step in steps for name in SHOWN]
    axes.set_yscale("log")
    axes.set_ylim(min(_NEAR[0], *known) / _ROOM, max(_NEAR[1], *known) * _ROOM)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("predicted ÷ measured", color=QUIET)


def _said(found: Forecast) -> str:
    said = (
        f"{step.rate:.1f} a second{' (held out)' if step.held_out else ''}: "
        + ", ".join(
            f"{name} {three(step.guesses[name].measured)} ms measured, "
            f"{three(step.guesses[name].predicted)} ms predicted"
            for name in SHOWN
        )
        for step in found.steps
    )
    knee = three(found.answer.node("knee").number("predicted"))
    return f"The knee is predicted at {knee} requests a second. {'; '.join(said)}."
