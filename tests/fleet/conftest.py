"""A fleet without a cluster: hosts in network namespaces, a name server, real gateways and TorchServes.

`make fleet` runs it with longer phases and prints what was measured. Needs root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.demo import build_demo
from tests.fleet.stage import Fleet
from tests.fleet.table import Row, markdown

ROWS = pytest.StashKey[list[Row]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the test's own: the first one also builds the demo and starts the fleet."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(240, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("fleet")
        terminalreporter.write_line(markdown(rows))


@pytest.fixture(scope="module")
def fleet(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node with a name server, and nothing in it yet; phases last FLEET_SECONDS."""
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces, which only root may")
    phase_s = float(os.environ.get("FLEET_SECONDS", "1"))
    made = Fleet(build_demo(), tmp_path_factory.mktemp("fleet"), phase_s)
    with made.open():
        yield made
    pytestconfig.stash.setdefault(ROWS, []).extend(made.rows)
