"""The load test itself, against the real stack."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.run import Load, run_locust
from loadtests.stack import StackError, Target, running_stack
from tests.e2e.demo import Demo, build_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="module")
def target(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway of its own, which must end without an error."""
    settings = {"ATTNSERVE_MODEL_STORE": str(demo.archives)}
    with running_stack(tmp_path_factory.mktemp("run"), settings) as stack:
        yield stack.target


def test_a_short_run_finds_nothing_wrong_and_counts_as_the_gateway_does(target: Target, demo: Demo) -> None:
    """Every sort of user and of request took part, and nothing failed."""
    outcome = run_locust(target, Load(users=6, seconds=6, samples=demo.samples))
    assert outcome.good, outcome
    assert {(row["protocol"], row["name"]) for row in outcome.result["rows"]} == {
        ("gRPC" if not form else "POST", f"{what} image{'s' * (what == 'few')}{form}")
        for what in ("one", "few", "corrupt")
        for form in ("", " (binary)", " (JSON)")
    }
    assert outcome.result["errors"] == []
    assert outcome.result["tally"]["judged"] > 50


def test_wrong_digits_fail_the_run(target: Target, demo: Demo, tmp_path: Path) -> None:
    """With every label exchanged nothing but the digits is wrong, and that is enough."""
    for path in demo.samples.glob("*.png"):
        label, _, number = path.name.partition("-")
        shutil.copy(path, tmp_path / f"{(int(label) + 1) % 10}-{number}")
    outcome = run_locust(target, Load(users=3, seconds=2, samples=tmp_path))
    assert not outcome.good
    assert outcome.result["errors"] == outcome.differences == []


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The end of its log is in the message."""
    with (
        pytest.raises(StackError, match="ATTNSERVE_NO_SUCH_SETTING is not a setting"),
        running_stack(tmp_path, {"ATTNSERVE_NO_SUCH_SETTING": "1"}),
    ):
        pytest.fail("it started")
