"""The steps: latency and throughput against load, with the knee."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from loadtests.report.document import Figure, Report, Step
from loadtests.report.plots_shared import BROKEN, SERVICE, SHADES, log_axis
from loadtests.report.written import figure_of, load, one, value_of
from serve.reporting.canvas import COLOURS, INK, QUIET, canvas, grid, inline
from serve.reporting.figures import setting

# Of the axis, so that the intervals of one step stand beside each other.
_DODGE = 0.006
_GOOD, _DUE, _BROKEN = "good replies", "as due", "not carried"
_LEGEND = (*SHADES, *(f"{name} of service time" for name in SHADES), _GOOD, _DUE, _BROKEN)
_MOST_TICKS = 8


def draw_steps(report: Report) -> Markup | None:
    """Percentiles with their intervals above, throughput with the diagonal below, against the load."""
    steps = sorted(report.steps, key=lambda step: step.load)
    if not steps:
        return None
    with canvas(6.4) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _latency(above, report, steps)
        _throughput(below, report, steps)
        for axes in (above, below):
            _knee(axes, report, named=axes is above)
            grid(axes, "both")
        below.set_xlim(*_limits(report, steps))
        if len(steps) <= _MOST_TICKS:
            loads = [step.load for step in steps]
            below.set_xticks(loads, [setting(round(load, 1)) for load in loads])
        below.set_xlabel("requests a second that were to arrive" if report.loop == "open" else "users")
        keys = {
            label: handle
            for axes in (above, below)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        order = [label for label in _LEGEND if label in keys]
        figure.legend([keys[label] for label in order], order, loc="outside upper left", ncols=5)
        return inline(
            figure,
            name="steps",
            title="Latency and throughput against load",
            description=_said(report, steps),
        )


def _latency(axes: Axes, report: Report, steps: Sequence[Step]) -> None:
    wide = _DODGE * (steps[-1].load - steps[0].load)
    for place, (name, shade) in enumerate(SHADES.items()):
        found = [(step, figure_of(step.response, name)) for step in steps]
        _line(axes, [(step.load + (place - 2) * wide, figure) for step, figure in found], name, shade)
    if report.loop == "open":
        _service(axes, steps)
    promise = report.slo.get("p99_ms")
    if promise is not None:
        axes.axhline(promise, color=INK, linewidth=0.9, linestyle=(0, (5, 2)))
        axes.annotate(
            f"promised p99: {setting(promise)} ms",
            (0.004, promise),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=8,
            color=QUIET,
        )
    log_axis(axes, [promise, *_ends(steps)])
    axes.set_ylabel("response time (ms, logarithmic)")


def _service(axes: Axes, steps: Sequence[Step]) -> None:
    """The highest percentile that most steps have, as a closed loop would have shown it."""
    columns = {name: [value_of(step.service, name) for step in steps] for name in reversed(SHADES)}
    known = (name for name, column in columns.items() if sum(map(math.isnan, column)) < len(steps) / 2)
    name = next(known, next(iter(SHADES)))
    axes.plot(
        [step.load for step in steps],
        columns[name],
        color=SERVICE,
        linewidth=1.2,
        linestyle=(0, (3, 1.5)),
        marker="s",
        markersize=5,
        markerfacecolor="white",
        label=f"{name} of service time",
    )


def _line(axes: Axes, points: Sequence[tuple[float, Figure | None]], name: str, shade: str) -> None:
    known = [
        (at, found, found.value) for at, found in points if found is not None and found.value is not None
    ]
    if not known:
        return
    below = [value - (value if found.low is None else found.low) for _, found, value in known]
    above = [(value if found.high is None else found.high) - value for _, found, value in known]
    axes.errorbar(
        [at for at, _, _ in known],
        [value for _, _, value in known],
        yerr=(below, above),
        color=shade,
        linewidth=1.4,
        elinewidth=1.1,
        capsize=2.5,
        marker="o",
        markersize=3.5,
        label=name,
    )


def _throughput(axes: Axes, report: Report, steps: Sequence[Step]) -> None:
    loads = [step.load for step in steps]
    if report.loop == "open":
        axes.plot((0, loads[-1]), (0, loads[-1]), color=QUIET, linewidth=1, linestyle=(0, (1, 2)), label=_DUE)
    found = [(step.load, figure_of(step.response, "throughput")) for step in steps]
    _line(axes, found, _GOOD, COLOURS[3])
    broken = [step for step in steps if not step.kept]
    axes.plot(
        [step.load for step in broken],
        [value_of(step.response, "throughput") for step in broken],
        linestyle="none",
        marker="X",
        markersize=9,
        markeredgecolor="white",
        color=BROKEN,
        label=_BROKEN,
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("good replies a second")


def _knee(axes: Axes, report: Report, *, named: bool) -> None:
    if report.knee is None:
        return
    kept = "carried" if report.loop == "open" else "knee"  # users who wait cannot overload anything
    for value, word, shade, style in (
        (report.knee.load, kept, COLOURS[3], "-"),
        (report.knee.broken, "broke", BROKEN, (0, (2, 2))),
    ):
        if value is None:
            continue
        axes.axvline(value, color=shade, linewidth=1.1, linestyle=style, alpha=0.8)
        if named:
            axes.annotate(
                f"{word}: {setting(round(value, 1))}",
                (value, 1),
                xycoords=("data", "axes fraction"),
                ha="right" if word == kept else "left",
                va="bottom",
                fontsize=8,
                weight="bold",
                color=shade,
            )


def _limits(report: Report, steps: Sequence[Step]) -> tuple[float, float]:
    marks = (report.knee.load, report.knee.broken) if report.knee else ()
    loads = [step.load for step in steps] + [mark for mark in marks if mark is not None]
    room = 0.05 * (max(loads) - min(loads)) or 1.0
    return min(loads) - room, max(loads) + room


def _ends(steps: Sequence[Step]) -> list[float | None]:
    """Everything that the axis of milliseconds must hold."""
    return [
        value
        for step in steps
        for figure in (*step.response, *step.service)
        if figure.unit == "ms"
        for value in (figure.value, figure.low, figure.high)
    ]


def _said(report: Report, steps: Sequence[Step]) -> str:
    said = "; ".join(_step_said(report, step) for step in steps)
    return f"{report.knee.text if report.knee else ''} {said}.".strip()


def _step_said(report: Report, step: Step) -> str:
    median, tail, good = (figure_of(step.response, name) for name in ("p50", "p99", "throughput"))
    return (
        f"{load(step.load, report.loop)}: p50 {one(median)}, p99 {one(tail)}, good replies {one(good)}"
        f"{'' if step.kept else ' (not carried)'}"
    )
