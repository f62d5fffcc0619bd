"""A document with everything in it: a short simulated experiment, evaluated as a real one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from loadtests.example_report import document
from serve.reporting.page import page


@pytest.fixture(scope="session")
def simulated() -> dict[str, Any]:
    """Made once; `full` gives copies."""
    return document(hours=110)


@pytest.fixture(scope="session")
def drawn(simulated: dict[str, Any]) -> str:
    """Its page, drawn once."""
    return page(simulated)


@pytest.fixture
def full(simulated: dict[str, Any]) -> dict[str, Any]:
    """A document of which a test may change what it likes."""
    return copy.deepcopy(simulated)
