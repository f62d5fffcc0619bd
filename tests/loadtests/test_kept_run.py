"""A run that was made is reported on, whatever goes wrong after its load."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from loadtests.exchanges import write_rows
from loadtests.outcome import Run
from loadtests.report.build import report
from loadtests.running import execution as executing
from loadtests.running import run as running
from loadtests.running.execution import Execution, NothingAnsweredError, execute, measure
from loadtests.running.generators import Generators
from loadtests.running.launch import EXCHANGES, Launched
from loadtests.running.plans import burst_of, plan_of
from loadtests.running.sites import Site
from loadtests.running.trial import TrialError
from loadtests.running.wish import Wish
from loadtests.scrape import Scrape
from loadtests.stack import Target
from loadtests.tally import Tally
from tests.loadtests.made_run import steady

SITE = Site(
    target=Target(http="http://127.0.0.1:1", grpc="127.0.0.1:1", metrics="http://127.0.0.1:1/metrics"),
    asked=("digits",),
    models=("digits",),
    samples=Path("samples"),
    max_batch=8,
)


class MuteTrial:
    """One whose gateway cannot say how it went."""

    name = "aa-1"

    def report(self, answered: int = 0) -> Mapping[str, Any]:
        """Refuse."""
        raise TrialError(f"the report cannot be read after {answered} answers")


@contextmanager
def given(value: object) -> Iterator[object]:
    """A context that has it."""
    yield value


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The command, of which the load is made already; gives the complaints."""

    def command(made: Run, wish: Wish, *models: str) -> list[str]:
        site = replace(SITE, models=(*SITE.models, *models))
        done = Execution(run=made, tally=Tally(), status=0)
        monkeypatch.setattr(running, "opened", lambda *_: given(site))
        monkeypatch.setattr(running, "execute", lambda *_: done)
        monkeypatch.setattr(running, "page", lambda _: "<html>")  # drawing it takes a second
        monkeypatch.setattr(running, "running_trial", lambda *_: given(MuteTrial()))
        return running.run(wish, Console(file=io.StringIO()))

    return command


def test_a_trial_without_the_gateways_verdict_is_reported_on(
    ran: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The callers' figures are in the report, and the command fails for what is missing."""
    made = steady(rate=20.0, seconds=10.0)
    told = ran(made, Wish(scenario="aa", rate=20.0, seconds=10.0, report=tmp_path))
    assert told == [
        f"the gateway's own verdict is missing: the report cannot be read after {len(made.exchanges)} answers"
    ]
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["rows"][0]["requests"] == len(made.exchanges)
    assert document["experiment"] is None
    assert (tmp_path / "report.html").exists()


def test_a_run_that_cannot_be_compared_after_all_is_reported_on(
    ran: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Of two models that may answer, as in the baseline, only one did in so short a run."""
    made = replace(steady(rate=20.0, seconds=10.0), scenario="steady")
    served = made.exchanges.served.copy()
    served[::2] = "letters"
    saved = tmp_path / "old.json"
    saved.write_text(report(replace(made, exchanges=replace(made.exchanges, served=served))).to_json())
    wish = Wish(scenario="steady", rate=20.0, seconds=10.0, against=[saved], report=tmp_path)
    (told,) = [line for line in ran(made, wish, "letters") if "--against" in line]
    assert "its models are 'digits, letters', now 'digits'" in told
    assert json.loads((tmp_path / "report.json").read_text())["comparisons"] == []


def launched(folder: Path, stopped: str = "") -> Launched:
    """What Locust leaves when nothing was sent."""
    file = folder / EXCHANGES
    write_rows(file, [])
    result = {
        "tally": Tally().as_json(),
        "began": 100.0,
        "ended": 101.0,
        "stopped": stopped,
        "receipts": {},
        "errors": [],
        "sent": {},
        "waited": 0,
    }
    return Launched(status=0, result=result, exchanges=file, generators=Generators({}))


def test_a_gateway_that_is_gone_after_the_load_loses_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its counts cannot be read is one of the run's findings."""
    pages = iter([Scrape(())])

    def scrape(_url: str) -> Scrape:
        if page := next(pages, None):
            return page
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr(executing, "scrape", scrape)
    monkeypatch.setattr(executing, "launch", lambda _job: launched(tmp_path))
    monkeypatch.setattr(executing, "_SETTLED_S", 0.0)
    wish = Wish(scenario="steady", rate=1.0, seconds=1.0)
    done = execute(plan_of(wish), wish, SITE, tmp_path)
    assert done.run.differences == ("the gateway's counts cannot be read any more: connection refused",)


def test_a_burst_that_was_ended_early_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the gateway is measured must not be followed by the load itself."""
    monkeypatch.setattr(executing, "launch", lambda _job: launched(tmp_path, "it was ended from outside"))
    wish = Wish(scenario="steady")
    with pytest.raises(NothingAnsweredError, match="--rate: cannot be measured: it was ended from outside"):
        measure(burst_of(wish), wish, SITE, tmp_path)
