"""Real TorchServes that are hurt under load, and the table of what came of it.

`make faults` runs all of it with longer phases; the tests that are not slow are part of `make test`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.demo import build_demo
from tests.faults.engines import Engine, start_all
from tests.faults.stage import MODEL, Stage
from tests.faults.table import markdown

STAGE = pytest.StashKey[Stage]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the test's own: the first one also builds the demo and starts engines."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(180, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    stage = config.stash.get(STAGE, None)
    if stage is not None and stage.rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(markdown(stage.rows))


@pytest.fixture(scope="session")
def stage(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Where gateways are started; its phases last FAULTS_SECONDS."""
    phase_s = float(os.environ.get("FAULTS_SECONDS", "1"))
    made = Stage(demo=build_demo(), phase_s=phase_s, folder=tmp_path_factory.mktemp("faults"))
    return pytestconfig.stash.setdefault(STAGE, made)


@pytest.fixture(scope="session")
def two(stage: Stage) -> Iterator[tuple[Engine, Engine]]:
    """Two stock TorchServes."""
    pair = Engine(stage.demo.archives, MODEL), Engine(stage.demo.archives, MODEL)
    with ExitStack() as life:
        for engine in pair:
            life.callback(engine.end)
        start_all(pair)
        yield pair


@pytest.fixture
def pair(two: tuple[Engine, Engine]) -> tuple[Engine, Engine]:
    """Both of them in good health."""
    for engine in two:
        engine.mend()
    return two
