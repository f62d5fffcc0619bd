"""The table of verdicts: every row, its place in the order, and what several arms say together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.verdict import LEAST_INFORMED, RULES, Facts, Verdict, decide, together

# A gain of 2 points that is certain.
GAIN = Facts(
    tripped=False, broken=False, enough=True, gain=0.02, low=0.012, high=0.028, margin=0.01, proven=True
)
ROWS: list[tuple[dict[str, Any], Verdict]] = [
    ({}, Verdict.BETTER),
    ({"gain": -0.02, "low": -0.028, "high": -0.012}, Verdict.WORSE),
    ({"gain": 0.005, "low": 0.001, "high": 0.009}, Verdict.NO_DIFFERENCE),
    ({"gain": 0.0, "low": -0.009, "high": 0.009, "proven": False}, Verdict.NO_DIFFERENCE),
    ({"gain": 0.0, "low": -0.01, "high": 0.009, "proven": False}, Verdict.UNDECIDED),
    ({"gain": 0.005, "low": -0.002, "high": 0.012, "proven": False}, Verdict.UNDECIDED),
    ({"low": -math.inf, "high": math.inf}, Verdict.BETTER),
    ({"low": -math.inf, "high": math.inf, "proven": False}, Verdict.UNDECIDED),
    ({"enough": False}, Verdict.INSUFFICIENT_DATA),
    ({"broken": True, "enough": False}, Verdict.BROKEN),
    ({"tripped": True, "broken": True, "enough": False}, Verdict.GUARDRAIL_TRIPPED),
]


@pytest.mark.parametrize(("changes", "verdict"), ROWS)
def test_each_row_of_the_table(changes: dict[str, Any], verdict: Verdict) -> None:
    """Harm comes before trust, trust before data, data before the figures."""
    assert decide(replace(GAIN, **changes)) is verdict


def test_every_verdict_has_a_rule_and_a_rank() -> None:
    """None can be forgotten in either table."""
    assert {rule.verdict for rule in RULES} == set(Verdict) == set(LEAST_INFORMED)


@given(
    tripped=st.booleans(),
    broken=st.booleans(),
    enough=st.booleans(),
    proven=st.booleans(),
    gain=st.floats(-1, 1),
    width=st.floats(0, 1),
)
def test_a_loss_is_never_called_better(**facts: Any) -> None:  # noqa: ANN401  what hypothesis draws
    """Whatever else holds, "better" takes a proven gain in a comparison that can be trusted."""
    width = facts.pop("width")
    verdict = decide(Facts(low=facts["gain"] - width, high=facts["gain"] + width, margin=0.01, **facts))
    if verdict is Verdict.BETTER:
        assert facts["proven"]
        assert facts["gain"] > 0
        assert facts["enough"]
        assert not facts["broken"]
        assert not facts["tripped"]


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([Verdict.BETTER], Verdict.BETTER),
        ([Verdict.BETTER, Verdict.UNDECIDED], Verdict.UNDECIDED),
        ([Verdict.BETTER, Verdict.WORSE], Verdict.BETTER),
        ([Verdict.NO_DIFFERENCE, Verdict.WORSE], Verdict.NO_DIFFERENCE),
        ([Verdict.WORSE, Verdict.WORSE], Verdict.WORSE),
        ([Verdict.BETTER, Verdict.INSUFFICIENT_DATA], Verdict.INSUFFICIENT_DATA),
        ([Verdict.BETTER, Verdict.GUARDRAIL_TRIPPED, Verdict.BROKEN], Verdict.GUARDRAIL_TRIPPED),
    ],
)
def test_several_arms_speak_through_the_least_known(verdicts: list[Verdict], whole: Verdict) -> None:
    """Once all are decided, the best news does."""
    assert together(verdicts) is whole
    assert together(reversed(verdicts)) is whole
