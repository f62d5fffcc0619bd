"""All drawings of a report; None where there is nothing to draw."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from loadtests.report.document import Report
from loadtests.report.plots_capacity import draw_capacity
from loadtests.report.plots_load import draw_steps
from loadtests.report.plots_ratio import draw_ratios
from loadtests.report.plots_time import draw_gateway, draw_throughput, draw_waits
from loadtests.report.written import GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plots:
    """The drawings, as elements of the page.

    Attributes:
        throughput: Requests due, answered and failed, over time.
        waits: Percentiles over time: of all requests, and of each protocol, model, arm and kind.
        steps: Latency and throughput against load.
        gateway: Batches and waits over time.
        baseline: Ratios to the baseline.
        arms: Ratios of the arms.
        capacity: Predicted and measured latency against load.
    """

    throughput: Markup | None
    waits: tuple[Markup, ...]
    steps: Markup | None
    gateway: Markup | None
    baseline: Markup | None
    arms: Markup | None
    capacity: Markup | None


def plots(report: Report) -> Plots:
    """Draw a report, whose texts are `written.cleaned`."""
    return Plots(
        throughput=draw_throughput(report),
        waits=tuple(drawn for group in GROUPS if (drawn := draw_waits(report, group))),
        steps=draw_steps(report),
        gateway=draw_gateway(report),
        baseline=draw_ratios("baseline", "This run over the baseline", report.comparisons),
        arms=draw_ratios("arms", "The arms of the experiment, as their callers saw them", report.arms),
        capacity=draw_capacity(report),
    )
