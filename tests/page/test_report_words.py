"""The page's words and figures are those of the report that is drawn without a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from serve.reporting import figures, words
from serve.reporting.measure import measure
from serve.reporting.node import Node
from tests.page.gateways import FakeGateway

PARTS = "page/experiments/report"
TABLES = ("VERDICTS", "NO_VERDICT", "STATES", "MODES", "METRICS", "AUTHORS", "MARKED", "ALERTS")
UNITS = ("share", "ratio", "score", "calls", "units", "images", "ms", "calls/min")
KINDS = ("level", "difference", "ratio", "share")
# Settings are figures that people write: none is smaller, but for 0.
SMALLEST_SETTING = 1e-4


@pytest.fixture
def call(page: Page, gateway: FakeGateway) -> Callable[..., Any]:
    """A function that computes with what a module exports: `call(MODULE, EXPRESSION, ARGUMENT)`."""
    page.goto(gateway.http)

    def run(module: str, expression: str, argument: object = None) -> Any:  # noqa: ANN401  whatever it gives
        code = (
            f"async (given) => {{ const found = await import('./{PARTS}/{module}'); return {expression}; }}"
        )
        return page.evaluate(code, argument)

    return run


def test_words_are_those_of_the_report_without_a_browser(call: Callable[..., Any]) -> None:
    """Verdicts, states, modes and their tones are called the same on the page and in the static report."""
    for name in TABLES:
        ours = getattr(words, name)
        plain = {key: asdict(one) for key, one in ours.items()} if _of_badges(ours) else ours
        assert call("words.js", f"found.{name}") == (asdict(ours) if name == "NO_VERDICT" else plain), name


def _of_badges(table: Any) -> bool:  # noqa: ANN401  a table of words, or of badges, or a badge
    return isinstance(table, dict) and not any(isinstance(one, str) for one in table.values())


def test_figures_are_written_as_without_a_browser(call: Callable[..., Any]) -> None:
    """Every writer gives the same text for any number as the static report's, ties of rounding included."""
    numbers = st.one_of(
        st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > SMALLEST_SETTING),
        st.integers(-8_000, 8_000).map(lambda eighths: eighths / 8),
    )

    @settings(max_examples=20, deadline=None)
    @given(st.lists(numbers, min_size=20, max_size=40))
    def same(values: list[float]) -> None:
        for name in ("count", "decimal", "evidence", "setting", "probability", "images"):
            written = [getattr(figures, name)(value + 0.0) for value in values]
            assert (
                call("figures.js", f"given.map(found.{name})", [value + 0.0 for value in values]) == written
            )
        for unit in UNITS:
            for kind in KINDS:
                ours = measure(Node({"unit": unit, "kind": kind}))
                pairs = [[ours.one(value + 0.0), ours.span(value + 0.0, None)] for value in values]
                theirs = "given[1].map((value) => [found.measure(given[0]).one(value), "
                theirs += "found.measure(given[0]).span(value, null)])"
                given_ = [{"unit": unit, "kind": kind}, [value + 0.0 for value in values]]
                assert call("figures.js", theirs, given_) == pairs

    same()
