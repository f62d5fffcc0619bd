"""`python -m loadtests.page.bench`: how fast the page opens, and what it costs the gateway.

A gateway with a fake engine and Debian's Chromium, on this machine. Views are opened in turns, each time with
empty caches; an experiment with ten million outcomes is opened as right after something was written of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from playwright.sync_api import Browser
from rich.table import Table

from loadtests.console import wide
from loadtests.machine import Machine
from loadtests.page.chromium import BrowserError, chromium
from loadtests.page.first_view import Openings, openings
from loadtests.page.live_cost import LiveCost, light_load, live_cost
from loadtests.page.stores import touch, write_grown
from loadtests.stack import Stack, StackError, end_in_order, running_stack
from tests.page.caller import infer_body
from tests.page.samples import sample, write_samples

GATEWAY: Final = (sys.executable, "-m", "tests.page.fake_gateway")
MODEL: Final = "digits_se"
REPORT: Final = "report of 10 million outcomes"
FIRST: Final = "playground (the first view)"
# What is asked of the page.
GOAL_FIRST_MS: Final = 300
GOAL_FIRST_KB: Final = 300
GOAL_REPORT_MS: Final = 1000
GOAL_LIVE: Final = 0.01

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        openings: Of each view.
        rounds: Of the live view's cost, each `seconds` without it and `seconds` with it.
        rate: Requests a second that the gateway answers meanwhile.
    """

    openings: int = 9
    rounds: int = 4
    seconds: float = 15.0
    rate: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured."""

    views: Sequence[Openings]
    live: LiveCost

    def view(self, name: str) -> Openings:
        """The openings of that view."""
        (found,) = (one for one in self.views if one.view == name)
        return found


def main(
    *,
    count: Annotated[int, typer.Option("--openings", help="Of each view.", min=1)] = 9,
    rounds: Annotated[int, typer.Option(help="Of the live view's cost.", min=1)] = 4,
    seconds: Annotated[float, typer.Option(help="Of each half of such a round.", min=0.1)] = 15.0,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
) -> None:
    """Measure the page. Takes about three minutes; nothing else should run on the machine meanwhile."""
    end_in_order()
    try:
        with console.status("measuring the page"):
            result = measure(Plan(openings=count, rounds=rounds, seconds=seconds))
    except (BrowserError, StackError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    machine = Machine.here()
    show(result)
    console.print(f"{machine.processor}, {machine.cores} cores; {machine.date}", soft_wrap=True)
    if file is not None:
        file.write_text(json.dumps(as_json(result, machine), indent=2) + "\n", encoding="utf-8")


def measure(plan: Plan) -> Result:
    """Start a gateway, and open the page again and again.

    Raises:
        BrowserError: There is no Chromium, or a view did not become usable.
        StackError: The gateway did not start or end as it should.
    """
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder / 'experiments.db'}"
        name = write_grown(url)
        (folder / "samples").mkdir()
        write_samples(folder / "samples")
        given = {"ATTNSERVE_EXPERIMENTS_STORE_URL": url, "ATTNSERVE_PAGE_SAMPLES": str(folder / "samples")}
        stack = running.enter_context(running_stack(folder / "run", given, GATEWAY))
        browser = running.enter_context(chromium())
        found = openings(
            browser,
            _views(stack, name),
            plan.openings,
            lambda view: touch(url, name) if view == REPORT else None,
        )
        return Result(views=found, live=_live(browser, stack, plan))


def _views(stack: Stack, experiment: str) -> Mapping[str, str]:
    base = stack.target.http
    return {
        FIRST: f"{base}/",
        "models": f"{base}/#/models",
        "experiments": f"{base}/#/experiments",
        REPORT: f"{base}/#/experiments/{experiment}",
        "live": f"{base}/#/live",
    }


def _live(browser: Browser, stack: Stack, plan: Plan) -> LiveCost:
    with light_load(stack.target.http, f"/v2/models/{MODEL}/infer", infer_body(sample("7")), plan.rate):
        return live_cost(browser, stack, plan.rounds, plan.seconds)


def show(result: Result) -> None:
    """Print tables, and the goals beside what was reached."""
    table = Table("view", "first paint", "usable", "requests", "over the wire", "goal")
    goals = {
        FIRST: f"usable in {GOAL_FIRST_MS} ms, {GOAL_FIRST_KB} kB",
        REPORT: f"usable in {GOAL_REPORT_MS} ms",
    }
    for view in result.views:
        table.add_row(
            view.view,
            f"{view.median('paint_ms'):.0f} ms",
            f"{view.median('usable_ms'):.0f} ms",
            f"{view.median('requests'):.0f}",
            f"{view.median('received_bytes') / 1000:.0f} kB",
            goals.get(view.view, ""),
        )
    console.print(table)
    live = result.live
    shares = Table("gateway's CPU, each round", *(str(number + 1) for number in range(len(live.without))))
    for title, found in (("no view open", live.without), ("a live view open", live.watched)):
        shares.add_row(title, *(f"{share:.2%}" for share in found))
    console.print(shares)
    console.print(f"An open live view costs {live.added:.2%} of a core (goal: under {GOAL_LIVE:.0%}).")


def as_json(result: Result, machine: Machine) -> dict[str, Any]:
    """All figures, for `json.dumps`."""
    return {
        "machine": asdict(machine),
        "views": [asdict(view) for view in result.views],
        "live": asdict(result.live) | {"added": result.live.added},
    }


if __name__ == "__main__":
    typer.run(main)
