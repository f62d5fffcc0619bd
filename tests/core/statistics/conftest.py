"""Prints what the simulations reached, as a table, after the tests."""

from __future__ import annotations

import pytest

_HEAD = ("metric", "truth", "figure", "has to be")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a figure, of those tests that recorded one."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = [value for report in reports for name, value in report.user_properties if name == "simulated"]
    if not found:
        return
    lines = [_HEAD, *found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    terminalreporter.section("simulations")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
