"""The run over time: load and answers, how long callers waited, and the gateway from inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes

from loadtests.report.document import GatewayPoint, Point, Report
from loadtests.report.plots_shared import (
    BROKEN,
    HIDDEN_TINT,
    MOST_BINS,
    SERVICE,
    SHADES,
    line,
    log_axis,
    mark_steps,
    number,
    time_axis,
)
from loadtests.report.written import GROUPS, figure_of, lasting, one
from serve.reporting.canvas import COLOURS, QUIET, canvas, colour, dashes, grid, inline, thinned
from serve.reporting.node import short

MOST_NAMES: Final = 8
_COLUMNS: Final = 3
_HEIGHT_OF_ONE, _HEIGHT_OF_ALL = 1.75, 3.1
_FIELDS: Final = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p999"}
_SERVICE: Final = {"p99": "service_p99", "p95": "service_p95", "p90": "service_p90", "p50": "service_p50"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The timeline of one row, in as many points as can be seen."""

    name: str
    points: Sequence[Point]

    @property
    def at(self) -> list[float]:
        """Seconds since the run began."""
        return [point.at for point in self.points]

    def column(self, field: str) -> list[float | None]:
        """One of a point's fields."""
        return [getattr(point, field) for point in self.points]

    @property
    def times(self) -> list[float | None]:
        """All milliseconds in it."""
        return [value for field in (*_FIELDS.values(), *_SERVICE.values()) for value in self.column(field)]


def lanes(report: Report, group: str) -> list[Lane]:
    """Of the rows of a group, those with the most requests, in the order of the rows."""
    rows = [row for row in report.rows if row.group == group]
    largest = sorted(rows, key=lambda row: -row.requests)[:MOST_NAMES]
    found = [
        Lane(name=row.name, points=thinned(_points(report, group, row.name), MOST_BINS))
        for row in rows
        if row in largest
    ]
    return [lane for lane in found if lane.points]


def draw_throughput(report: Report) -> Markup | None:
    """Requests that were due, replies that came, and failures, in requests a second."""
    found = lanes(report, "all")
    if not found:
        return None
    (lane,) = found[:1]
    with canvas(2.9) as figure:
        axes = figure.add_subplot()
        mark_steps(axes, report, named=True)
        line(
            axes,
            lane.at,
            lane.column("offered"),
            color=QUIET,
            linewidth=1.4,
            linestyle=(0, (4, 2)),
            label="due",
        )
        line(axes, lane.at, lane.column("answered"), color=COLOURS[1], linewidth=1.8, label="answered")
        failed = _failed(lane)
        if any(failed):
            axes.fill_between(
                lane.at, failed, color=BROKEN, alpha=0.75, linewidth=0, step="mid", label="failed"
            )
        axes.set_ylim(bottom=0)
        axes.set_ylabel("requests a second")
        time_axis(axes, report)
        grid(axes)
        figure.legend(loc="outside upper left", ncols=3, handlelength=3)
        return inline(
            figure,
            name="throughput",
            title="Requests due, answered and failed over time",
            description=_throughput_said(report, lane),
        )


def draw_waits(report: Report, group: str) -> Markup | None:
    """Percentiles of the response time of each row of a group; None where the group tells nothing apart."""
    found = lanes(report, group)
    if not found or (group != "all" and len(found) == 1):
        return None
    hidden = _highest(found) if report.loop == "open" else None
    columns = len(found) if len(found) < _COLUMNS else 2 if len(found) == _COLUMNS + 1 else _COLUMNS
    rows = -(-len(found) // columns)
    with canvas(_HEIGHT_OF_ALL if rows == columns == 1 else 0.75 + _HEIGHT_OF_ONE * rows) as figure:
        grid_of = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        log_axis(grid_of[0][0], [value for lane in found for value in lane.times])
        for place, axes in enumerate(grid_of.flat):
            if place < len(found):
                _waits(axes, report, found[place], hidden)
                axes.set_title(short(found[place].name, 40) if group != "all" else "", loc="left", fontsize=9)
                time_axis(axes, report, named=place >= len(found) - columns)
                axes.tick_params(labelbottom=True)
            else:
                axes.set_visible(False)
        figure.supylabel("milliseconds (logarithmic)", fontsize=9, color=QUIET)
        keys = {
            label: handle
            for axes in grid_of.flat
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(list(keys.values()), list(keys), loc="outside upper left", ncols=7)
        return inline(
            figure,
            name=f"waits-{group}",
            title=f"Percentiles of the response time over time: {GROUPS[group].lower()}",
            description=_waits_said(report, group, found),
        )


def draw_gateway(report: Report) -> Markup | None:
    """Images in a batch, the wait in the gateway, and the time in the net, by model."""
    models = list(dict.fromkeys(point.model for point in report.gateway))
    if not models:
        return None
    panels = (
        ("mean_batch", "images in a batch"),
        ("queue_ms", "wait (ms)"),
        ("inference_ms", "in the net (ms)"),
    )
    with canvas(5.2) as figure:
        stack = figure.subplots(len(panels), 1, sharex=True)
        for axes, (field, unit) in zip(stack, panels, strict=True):
            mark_steps(axes, report, named=axes is stack[0])
            for place, model in enumerate(models):
                _gateway_line(axes, report, place, model, field)
            _gateway_axis(axes, report, field)
            axes.set_ylabel(unit)
            time_axis(axes, report, named=axes is stack[-1])
            grid(axes)
        figure.legend(
            *stack[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=3
        )
        return inline(
            figure,
            name="gateway",
            title="Batch size, wait in the gateway and time in the net over time",
            description=_gateway_said(report, models),
        )


def _points(report: Report, group: str, name: str) -> list[Point]:
    return [point for point in report.timeline if (point.group, point.name) == (group, name)]


def _failed(lane: Lane) -> list[float]:
    """Failures a second; a bin is as wide as its neighbour is far."""
    at = lane.at
    width = (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 1.0
    return [point.failed / width for point in lane.points]


def _highest(found: Sequence[Lane]) -> str:
    """The highest percentile of the service time that most bins have; the median where no higher one is."""
    bins = sum(len(lane.points) for lane in found)
    for name, field in _SERVICE.items():
        if sum(value is not None for lane in found for value in lane.column(field)) > bins / 2:
            return name
    return "p50"


def _waits(axes: Axes, report: Report, lane: Lane, hidden: str | None) -> None:
    mark_steps(axes, report)
    for name, field in _FIELDS.items():
        if lane.column(field).count(None) < len(lane.points):
            line(axes, lane.at, lane.column(field), color=SHADES[name], linewidth=1.3, label=name)
    if hidden:
        _hidden(axes, lane, hidden)
    grid(axes)


def _hidden(axes: Axes, lane: Lane, name: str) -> None:
    """What a closed loop would have shown of a percentile, and what it would have hidden."""
    service, response = lane.column(_SERVICE[name]), lane.column(_FIELDS[name])
    label = f"{name} of service time"
    line(axes, lane.at, service, color=SERVICE, linewidth=1.3, linestyle=(0, (3, 1.5)), label=label)
    axes.fill_between(
        *(lane.at, list(map(number, service)), list(map(number, response))),
        color=HIDDEN_TINT,
        linewidth=0,
        zorder=0.9,
        label="hidden from a closed loop",
    )


def _gateway_line(axes: Axes, report: Report, place: int, model: str, field: str) -> None:
    points: Sequence[GatewayPoint] = thinned([p for p in report.gateway if p.model == model], MOST_BINS)
    line(
        axes,
        [point.at for point in points],
        [getattr(point, field) for point in points],
        color=colour(place + 1),
        linestyle=dashes(place),
        linewidth=1.4,
        label=short(model, 30),
    )


def _gateway_axis(axes: Axes, report: Report, field: str) -> None:
    most = max((number(getattr(point, field) or 0.0) for point in report.gateway), default=0.0)
    if field == "queue_ms":  # nothing waits, or for seconds: both can be seen
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.4)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.set_ylim(0, 1.5 * max(most, 10.0))
    else:
        axes.set_ylim(0, 1.15 * most or 1.0)


def _throughput_said(report: Report, lane: Lane) -> str:
    offered = [point.offered for point in lane.points]
    answered = [point.answered for point in lane.points]
    failed = sum(point.failed for point in lane.points)
    return (
        f"Two lines over {lasting(report.seconds)}, in requests a second: between {min(offered):.1f} and "
        f"{max(offered):.1f} due, between {min(answered):.1f} and {max(answered):.1f} answered. In all "
        f"{failed:,} failed."
    )


def _waits_said(report: Report, group: str, found: Sequence[Lane]) -> str:
    rows = {row.name: row for row in report.rows if row.group == group}
    said = "; ".join(
        f"{lane.name}: "
        + ", ".join(f"{name} {one(figure_of(rows[lane.name].response, name))}" for name in _FIELDS)
        for lane in found
    )
    return f"One line a percentile. Over the whole run, {said}."


def _gateway_said(report: Report, models: Sequence[str]) -> str:
    said = []
    for model in models:
        batches = [p.mean_batch for p in report.gateway if p.model == model and p.mean_batch is not None]
        waits = [p.queue_ms for p in report.gateway if p.model == model and p.queue_ms is not None]
        said.append(
            f"{model}: at most {max(batches, default=0):.1f} images in a batch, "
            f"and a mean wait of at most {max(waits, default=0):.1f} ms"
        )
    return "Three panels, one line a model. " + "; ".join(said) + "."
