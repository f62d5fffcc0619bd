"""The page: from a report to one HTML text without a script and without anything from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader

from loadtests.report import written
from loadtests.report.document import FORMAT, Report
from loadtests.report.forecast import PERCENTILES, forecast
from loadtests.report.plots import plots
from loadtests.report.tiles import badge, tiles
from serve.reporting.figures import begun, count, decimal, setting, utc
from serve.reporting.node import Node
from serve.reporting.shell import environment, styled

_FOLDER: Final = Path(__file__).parent


def page(report: Report) -> str:
    """Draw a report as one file that needs nothing but itself; the same report gives the same text."""
    report = written.cleaned(report)
    return (
        _environment()
        .get_template("page.html")
        .render(
            **styled((_FOLDER / "style.css").read_text("utf-8")),
            report=report,
            format=FORMAT,
            badge=badge(report),
            tiles=tiles(report),
            plots=plots(report),
            groups=[
                (heading, rows)
                for group, heading in written.GROUPS.items()
                if (rows := [row for row in report.rows if row.group == group])
            ],
            forecast=forecast(report),
            experiment=Node(report.experiment),
        )
    )


def _environment() -> Environment:
    found = environment(FileSystemLoader(_FOLDER))
    found.filters.update(
        bare=written.bare,
        begun=begun,
        count=count,
        decimal=decimal,
        ends=written.ends,
        figure_of=written.figure_of,
        lasting=written.lasting,
        load=written.load,
        off=written.off,
        ratio=written.ratio,
        setting=setting,
        three=written.three,
        tolerances=written.tolerances,
        utc=utc,
        verdict=written.verdict,
    )
    found.globals.update(FORECAST=PERCENTILES, PERCENTILES=written.PERCENTILE_NAMES, measure=written.measure)
    return found
