"""How figures are written: units everywhere, and the same everywhere."""

from __future__ import annotations

import math
from typing import Any

import pytest

from serve.reporting.figures import count, decimal, evidence, probability, setting, utc
from serve.reporting.measure import measure
from serve.reporting.metrics import glyph
from serve.reporting.node import Node, clean


@pytest.mark.parametrize(
    ("row", "estimate", "interval"),
    [
        ({"unit": "share", "kind": "level"}, "1.25 %", "−0.40 to 2.00 %"),
        ({"unit": "share", "kind": "difference"}, "+1.25 points", "−0.40 to +2.00 points"),
        ({"unit": "ratio", "kind": "ratio"}, "+1.2 %", "−0.4 to +2.0 %"),
        ({"unit": "score", "kind": "difference"}, "+0.0125", "−0.0040 to +0.0200"),
        ({"unit": "ms", "kind": "level"}, "0.013 ms", "−0.004 to 0.020 ms"),
    ],
)
def test_a_figure_has_the_unit_of_its_row(row: dict[str, Any], estimate: str, interval: str) -> None:
    """Differences of shares are points, those of times are percent; gains have their plus."""
    written = measure(Node(row))
    assert written.one(0.0125) == estimate
    assert written.span(-0.004, 0.02) == interval


def test_an_unknown_end_is_said_in_words() -> None:
    """An interval that is open on one side is not written as if it were closed."""
    written = measure(Node({"unit": "ms", "kind": "level"}))
    assert written.span(None, 20.0) == "at most 20.00 ms"
    assert written.span(20.0, None) == "at least 20.00 ms"
    assert written.span(None, None) == "–"


@pytest.mark.parametrize(
    ("log_e", "written"),
    [
        (None, "–"),
        (0.0, "1.00"),
        (math.log(20), "20.00"),
        (math.log(4.9e8), "4.9 × 10⁸"),
        (math.log(9.96e7), "1.0 × 10⁸"),
        (math.log(2e-6), "2.0 × 10⁻⁶"),
        (12_500.0, "4.8 × 10⁵⁴²⁸"),
    ],
)
def test_evidence_is_readable_at_any_size(log_e: float | None, written: str) -> None:
    """Even where the e-value itself is beyond what a float holds."""
    assert evidence(log_e) == written


def test_numbers_and_times_are_written_for_people() -> None:
    """With thousands, a true minus, and the zone of the time."""
    assert (count(-12345.0), decimal(0.0), decimal(1234.5)) == ("−12,345", "0.00", "1,234")
    assert (setting(5.0), setting(0.30000000000000004), setting(1e6)) == ("5", "0.3", "1,000,000")
    assert (probability(1.0), probability(0.03), probability(1e-9)) == ("1", "0.0300", "< 0.0001")
    assert utc(1_767_589_200.0) == "5 Jan 2026, 05:00 UTC"


def test_a_glyph_keeps_zero_in_the_middle() -> None:
    """60 is zero; the longer side reaches almost to the end."""
    found = glyph(Node({"kind": "difference", "low": -1.0, "estimate": 1.0, "high": 3.0}))
    assert found is not None
    assert found.low < 60 < found.point < found.high < 120
    assert glyph(Node({"kind": "difference", "low": None, "estimate": 1.0, "high": 3.0})) is None
    assert glyph(Node({"kind": "level", "low": 0.0, "estimate": 1.0, "high": 3.0})) is None


def test_a_node_reads_what_is_there_and_nothing_else() -> None:
    """A value of another kind is as if it were missing."""
    node = Node({"text": 5, "number": "5", "flag": 1, "nan": float("nan"), "list": {"a": 1}, "at": 1e300})
    assert (node.text("text"), node.number("number"), node.flag("flag"), node.number("nan")) == (
        "",
        None,
        None,
        None,
    )
    assert (node.nodes("list"), node.moment("at"), node.node("none").number("deep")) == ([], None, None)


def test_a_text_is_cut_and_cleaned() -> None:
    """What XML cannot hold and what would turn the text around it is gone; other scripts stay."""
    assert clean("a\x00\ud800\u202eb\n") == "a\ufffd\ufffdb "
    assert clean("مرحبا 👩‍🔬") == "مرحبا 👩‍🔬"
    assert len(clean("x" * 10_000)) < 2010
