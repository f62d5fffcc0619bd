"""What the dashboards share: their variables and links, queries that come up everywhere, kinds of panels.

Queries select by Grafana's variables and sum by labels that every Prometheus has, never by pod: so a
dashboard shows the same with one gateway as with twenty, on Kubernetes and elsewhere. The exception is what
belongs to a process or to a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

RUNBOOK: Final = "deploy/monitoring/runbook.md"  # in the repository, wherever yours is
TAG: Final = "attnserve"
NAMESPACE: Final = 'namespace=~"$namespace"'
# As the recording rules have it: a caller's own mistakes, and callers who left, are nobody's failure here.
FAILED: Final = 'outcome!~"ok|client_error|cancelled"'
OURS: Final = 'outcome!~"client_error|cancelled"'
QUANTILES: Final = (0.5, 0.95, 0.99)
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

_DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
# Of Grafana's 24 columns, and rows.
_LINES_SIZE: Final = (8, 8)
_NUMBER_SIZE: Final = (4, 4)
_WIDE_SIZE: Final = (12, 8)

Query = prometheus.Dataquery
Panel = Builder[model.Panel]
_Kind = TypeVar("_Kind", timeseries.Panel, stat.Panel, statetimeline.Panel, heatmap.Panel, table.Panel)


@dataclass(frozen=True, slots=True)
class About:
    """What a panel says of itself.

    Attributes:
        title: Above it.
        text: What is seen, and what to make of it; shown when the mouse rests on the title.
        unit: Of Grafana's units: s, reqps, percentunit, bytes, short, ...
    """

    title: str
    text: str
    unit: str


@dataclass(frozen=True, slots=True)
class State:
    """A number that stands for something."""

    value: int
    text: str
    colour: str


# --- queries ---


def query(expression: str, legend: str) -> Query:
    """One that is asked over the time that the dashboard shows; `legend` names its series, with {{label}}."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).range()


def now(expression: str, legend: str) -> Query:
    """One that is asked for the end of that time alone."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).instant()


def per_second(counter: str, by: str, where: str = NAMESPACE) -> str:
    """How fast a counter grows, summed by these labels."""
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))"


def mean(histogram: str, by: str, where: str = NAMESPACE) -> str:
    """The mean of what a histogram observed."""
    return f"{per_second(f'{histogram}_sum', by, where)} / {per_second(f'{histogram}_count', by, where)}"


def quantiles(histogram: str, by: str, where: str = NAMESPACE) -> list[Query]:
    """p50, p95 and p99 of what a histogram observed, by these labels; with links to traces, where any are."""
    buckets = per_second(f"{histogram}_bucket", f"le, {by}", where)
    labels = by.split(", ")
    names = " ".join(
        f"{{{{{label}}}}}" for label in labels if label != "namespace" or labels == ["namespace"]
    )
    return [
        query(f"histogram_quantile({quantile}, {buckets})", f"p{quantile * 100:.0f} {names}").exemplar(
            exemplar=True
        )
        for quantile in QUANTILES
    ]


def burn(window: str, where: str) -> str:
    """How many times too fast the failures come that an objective allows; from the recording rules.

    Args:
        window: Over which: 5m, 30m, 1h, 2h, 6h, 1d or 3d.
        where: Of which models, or of which arms.
    """
    ratio = f"attnserve:slo_failures:ratio_rate{window}{{{where}}}"
    return f"{ratio} / on (slo) group_left () (1 - attnserve:slo:objective{{}})"


# --- panels ---


def lines(about: About, *queries: Query, limits: Mapping[float, str] | None = None) -> timeseries.Panel:
    """Values over time; at a limit a dashed line is drawn in its colour, and what lies above takes it."""
    panel = _filled(timeseries.Panel(), about, queries, _LINES_SIZE)
    panel.legend(_legend()).tooltip(common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI))
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
    panel.fill_opacity(10).show_points(values.VisibilityMode.NEVER).axis_soft_min(0)
    if limits:
        dashed = common.GraphThresholdsStyleConfig().mode(values.GraphTresholdsStyleMode.DASHED)
        panel.thresholds(_limits(limits)).thresholds_style(dashed)
    return panel


def stacked(about: About, *queries: Query) -> timeseries.Panel:
    """Values over time, one on top of the other, where their sum says something."""
    stacking = common.StackingConfig().mode(values.StackingMode.NORMAL).group("A")
    return lines(about, *queries).stacking(stacking).fill_opacity(40)


def number(
    about: About, *queries: Query, limits: Mapping[float, str] | None = None, below: str = GREEN
) -> stat.Panel:
    """The last value, large, in the colour of the limit that it has reached, or in `below`'s."""
    panel = _filled(stat.Panel(), about, queries, _NUMBER_SIZE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.color_mode(values.BigValueColorMode.BACKGROUND if limits else values.BigValueColorMode.VALUE)
    panel.graph_mode(values.BigValueGraphMode.AREA)
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    return panel.thresholds(_limits(limits or {}, below))


def states(about: About, known: Iterable[State], *queries: Query) -> statetimeline.Panel:
    """What held when: a bar for each series, whose numbers are shown as the words that they stand for."""
    panel = _filled(statetimeline.Panel(), about, queries, _WIDE_SIZE).legend(_legend())
    panel.mappings([state_names(known)]).merge_values(merge_values=True).show_value(
        values.VisibilityMode.AUTO
    )
    return panel.fill_opacity(70).row_height(0.8)


def distribution(about: About, histogram: str, unit: str, where: str = NAMESPACE) -> heatmap.Panel:
    """How often a histogram observed what, which has that unit, over time: the darker the more."""
    buckets = f"sum by (le) (increase({histogram}_bucket{{{where}}}[$__rate_interval]))"
    panel = _filled(
        heatmap.Panel(), about, [query(buckets, "{{le}}").format(PromQueryFormat.HEATMAP)], _LINES_SIZE
    )
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel.color(colours).y_axis(heatmap.YAxisConfig().unit(unit))
    return panel.calculate(calculate=False).show_tooltip().cell_gap(1)


def rows(about: About, *queries: Query) -> table.Panel:
    """The last values as a table, a row for each series and a column for each of its labels."""
    panel = _filled(
        table.Panel(), about, [one.format(PromQueryFormat.TABLE).instant() for one in queries], _WIDE_SIZE
    )
    hidden = model.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
    return panel.with_transformation(hidden)


def state_names(known: Iterable[State]) -> model.ValueMap:
    """Shows numbers as words, in their colours."""
    return model.ValueMap(
        {
            str(one.value): model.ValueMappingResult(text=one.text, color=one.colour, index=index)
            for index, one in enumerate(known)
        }
    )


def _filled(panel: _Kind, about: About, queries: Sequence[Query], size: tuple[int, int]) -> _Kind:
    width, height = size
    panel.title(about.title).description(about.text).unit(about.unit)
    panel.datasource(_DATASOURCE).span(width).height(height)
    for place, one in enumerate(queries):
        panel.with_target(one.ref_id(chr(ord("A") + place)).datasource(_DATASOURCE))
    return panel


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(values.LegendPlacement.BOTTOM)
    return legend.display_mode(values.LegendDisplayMode.LIST)


def _limits(limits: Mapping[float, str], below: str = GREEN) -> dashboard.ThresholdsConfig:
    steps = [
        model.Threshold(value=None, color=below),
        *(model.Threshold(value=value, color=colour) for value, colour in sorted(limits.items())),
    ]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


# --- dashboards ---


def choice(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """A variable with the values that a label of that name has, several or all of them at a time.

    Args:
        name: Of the variable, and of the label.
        label: What people read.
        metric: A metric that has the label, with what it is selected by.
    """
    variable = dashboard.QueryVariable(name).label(label).query(f"label_values({metric}, {name})")
    variable.datasource(_DATASOURCE).refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(model.VariableSort.ALPHABETICAL_ASC).multi(multi=True).include_all(
        include_all=True
    ).all_value(".*")
    return variable.current(model.VariableOption(selected=True, text="All", value="$__all"))


def board(
    uid: str,
    about: About,
    variables: Sequence[dashboard.QueryVariable],
    sections: Mapping[str, Sequence[Panel]],
) -> model.Dashboard:
    """A whole dashboard.

    Args:
        uid: What links name it by; "attnserve-" is put before it.
        about: Of the dashboard; it has no unit.
        variables: What is chosen at its top, after the data source.
        sections: Heading -> panels, which are laid out from left to right.
    """
    text = f"{about.text} What to do about each alert: {RUNBOOK}"
    built = dashboard.Dashboard(about.title).uid(f"{TAG}-{uid}").description(text).tags([TAG])
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for variable in variables:
        built.with_variable(variable)
    others = dashboard.DashboardLink("attnserve").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    others.keep_time(keep_time=True).include_vars(include_vars=True).as_dropdown(as_dropdown=False)
    built.link(others)
    for heading, panels in sections.items():
        built.with_row(dashboard.Row(heading))
        for panel in panels:
            built.with_panel(panel)
    built.time("now-1h", "now").refresh("30s").timezone("browser").readonly()
    return _numbered(built.tooltip(model.DashboardCursorSync.CROSSHAIR).build())


def _numbered(built: model.Dashboard) -> model.Dashboard:
    """Give every panel a number of its own, by which links to a single panel name it."""
    for number_, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number_
    return built
