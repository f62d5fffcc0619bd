"""Experiments and aliases as rows: both ways, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import InternalError, InvalidRequestError
from serve.core.experiment import Experiment
from serve.ledger.coding import alias_of, alias_row, canonical, digest_of, experiment_of, experiment_row
from serve.ledger.database import LedgerError
from tests.ledger.documents import an_alias, an_experiment, experiments


@given(version=experiments())
def test_a_row_gives_back_the_experiment(version: Experiment) -> None:
    """Nothing is lost on the way to a row and back, whose document is plain ASCII whatever people write."""
    row = experiment_row(version)
    assert row["document"].isascii()
    again = experiment_of({**row, "digest": ""})
    assert again == version
    assert experiment_row(again) == row


def test_a_row_gives_back_the_alias() -> None:
    """Nothing of an alias is lost on the way to a row and back."""
    assert alias_of(alias_row(an_alias())) == an_alias()


@pytest.mark.parametrize("text", ["\0", "a\ud800b", "\udfff"])
@pytest.mark.parametrize("where", ["author", "reason"])
def test_what_no_database_keeps_is_refused(text: str, where: str) -> None:
    """NUL and half surrogate pairs are refused by the parameter's name."""
    changes: dict[str, Any] = {where: text}
    with pytest.raises(InvalidRequestError, match=where):
        experiment_row(replace(an_experiment(), **changes))
    with pytest.raises(InvalidRequestError, match=where):
        alias_row(replace(an_alias(), **changes))


def test_what_would_not_come_back_the_same_is_not_written() -> None:
    """A value of another type than its column's is an error of ours, found before it is kept."""
    with pytest.raises(InternalError, match="cannot be kept"):
        experiment_row(replace(an_experiment(), labels=["a", "b"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"document": "{}"},
        {"document": "not JSON"},
        {"state": "resting"},
        {"unknown": 1},
        {"winner": "0"},
        {"winner": True},
        {"phases": [["1"]]},
        {"allocation": [[0, 1]]},
    ],
)
def test_a_row_that_is_not_understood_is_not_read(change: dict[str, Any]) -> None:
    """What is missing, unknown or of another type is refused, saying which version and why."""
    row = {**experiment_row(an_experiment()), "digest": "", "seq": 17}
    columns = {name: value for name, value in change.items() if name in row}
    inside = {name: value for name, value in change.items() if name not in row}
    row["document"] = canonical({**json.loads(row["document"]), **inside})
    with pytest.raises(LedgerError, match="seq 17"):
        experiment_of({**row, **columns})


def test_an_unknown_field_of_a_design_is_not_read() -> None:
    """A design with something that this program does not know is refused, not read without it."""
    row = experiment_row(an_experiment())
    document = json.loads(row["document"])
    document["design"]["strategy"] = "bandit"
    with pytest.raises(LedgerError, match="newer"):
        experiment_of({**row, "digest": "", "document": canonical(document)})


@given(
    name=st.sampled_from(sorted(experiment_row(an_experiment()))),
    value=st.integers(100, 200) | st.text("xyz", min_size=1, max_size=4),
)
def test_a_digest_depends_on_every_column(name: str, value: int | str) -> None:
    """Whatever is changed in a row, its digest is another."""
    row = experiment_row(an_experiment())
    assert digest_of({**row, name: value}, "before") != digest_of(row, "before")
    assert digest_of(row, "before") != digest_of(row, "")


def test_a_digest_can_be_computed_by_anybody() -> None:
    """It is SHA-256 of the columns as JSON: sorted, without spaces, "previous" among them."""
    # printf '{"author":"ann","number":1,"previous":"ab"}' | sha256sum
    expected = "9f7f9d9bef6ed521"
    assert digest_of({"number": 1, "author": "ann", "digest": "left out"}, "ab").startswith(expected)
