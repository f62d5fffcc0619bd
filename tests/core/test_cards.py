"""What is shown of a card: right where the signature is, None where it is not, and never too much."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.core.card import ModelCard, parse_card
from serve.core.cards import DETAILS, MOST_OF_A_CARD, SUMMARY, read_facts

SIGNATURE: dict[str, Any] = {
    "format": 1,
    "name": "digits_sk",
    "version": "2",
    "architecture": "digits_sk",
    "family": "resnet",
    "attention": "sk",
    "attention_layout": [{"block": "layer1.0", "channels": 4, "branches": 2}],
    "trained": True,
    "batch_buckets": [1, 8],
    "labels": ["zero", "eins"],
    "input": {"size": [8, 16], "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "resize": {"method": "stretch"}},
    "parity": {"form": "trace", "tolerance": 1e-4},
    "card": {
        "accuracy": 0.75,
        "accuracy_interval_95": [0.5, 0.9],
        "parameters": 19963,
        "macs": 809448,
        "source": "a test",
        "confusion": [[3, 1], [0, 4]],
        "epochs": 10,
        "weights": {"form": "torchvision"},
    },
}
CARD = parse_card(SIGNATURE, contents_sha256="ab")
# Whatever json.loads may give, and what only a careless writer of JSON makes.
HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**3000, "long" * 500])
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec=None), max_size=9), inner)
    ),
    max_leaves=10,
)
CARD_KEYS = (*SIGNATURE["card"], "published", "\ud800", "")


def signed(**changes: object) -> ModelCard:
    """The card of a signature with some keys that the gateway does not check."""
    return replace(CARD, signature=copy.deepcopy(SIGNATURE) | changes)


def carded(**changes: object) -> dict[str, Any]:
    """What a list shows of a signature's card with some changes."""
    card = signed(card=SIGNATURE["card"] | changes)
    return dict(read_facts(card, SUMMARY)["card"])


def test_what_a_signature_says_is_shown() -> None:
    """In a list all but the matrix; alone that, the labels, the gates' columns and the input as well."""
    listed = read_facts(replace(CARD, recipe="portable", recipe_reasons=("no AVX",)), SUMMARY)
    assert listed == {
        "architecture": "digits_sk",
        "family": "resnet",
        "attention": "sk",
        "trained": True,
        "classes": 2,
        "input_size": [8, 16],
        "max_batch": 8,
        "recipe": "portable",
        "recipe_reasons": ["no AVX"],
        "decoder": None,
        "contents_sha256": "ab",
        "parity": {"form": "trace", "tolerance": 1e-4},
        "card": {key: value for key, value in SIGNATURE["card"].items() if key != "confusion"},
        "offers_attention": True,
    }
    alone = read_facts(CARD, DETAILS)
    assert {key: alone[key] for key in alone.keys() - listed.keys()} == {
        "labels": ["zero", "eins"],
        "attention_layout": [{"block": "layer1.0", "channels": 4, "branches": 2}],
        "confusion": [[3, 1], [0, 4]],
        "input": {"resize": {"method": "stretch"}, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]},
        "input_names": ["image", "pixels", "input"],
    }


@pytest.mark.parametrize("facts", [SUMMARY, DETAILS])
def test_a_version_that_was_never_ready_has_the_same_keys(facts: dict[str, Any]) -> None:
    """All of them None."""
    assert read_facts(None, facts) == dict.fromkeys(read_facts(CARD, facts))


@pytest.mark.parametrize("missing", [key for key in SIGNATURE if key in ("architecture", "family", "parity")])
def test_what_a_signature_does_not_say_is_none(missing: str) -> None:
    """Whichever of the free keys is missing."""
    card = replace(CARD, signature={key: value for key, value in SIGNATURE.items() if key != missing})
    assert read_facts(card, SUMMARY) == read_facts(CARD, SUMMARY) | {missing: None}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accuracy", "0.9"),
        ("accuracy", 1.5),
        ("accuracy", float("nan")),
        ("accuracy", True),
        ("accuracy_interval_95", [0.9, 0.1]),
        ("accuracy_interval_95", [0.1]),
        ("accuracy_interval_95", [0.1, "0.9"]),
        ("accuracy_interval_95", {"low": 0.1}),
        ("parameters", -1),
        ("parameters", 2**53),
        ("parameters", 1.5),
        ("macs", [1]),
        ("macs", 10**4000),
        ("source", 7),
        ("source", ""),
    ],
)
def test_a_figure_that_cannot_be_is_none(key: str, value: object) -> None:
    """The others stay, and keys that are missing are None as well."""
    assert carded(**{key: value}) == carded() | {key: None}


@pytest.mark.parametrize(
    "confusion",
    [
        None,
        "3 1 0 4",
        [[3, 1]],
        [[3, 1], [0]],
        [[3, 1], [0, -1]],
        [[3, 1], [0, 0.5]],
        [[3, 1], {"0": 4}],
        [[3, 1], [0, True]],
    ],
)
def test_a_matrix_that_is_none_is_not_shown(confusion: object) -> None:
    """Of the net's classes, whole numbers from 0 on."""
    card = signed(card={"confusion": confusion})
    assert read_facts(card, DETAILS)["confusion"] is None


def test_a_thousand_classes_stay_small() -> None:
    """The matrix is left out, the labels are all there; what is free and long is left out as a whole."""
    many = 1000
    labels = tuple(f"class {number}" for number in range(many))
    card = {**SIGNATURE["card"], "confusion": [[0] * many] * many, "per_class": [0.123456789] * 100_000}
    wide = replace(signed(card=card), labels=labels)
    listed, alone = read_facts(wide, SUMMARY), read_facts(wide, DETAILS)
    assert listed["classes"] == many
    assert listed["card"] == carded() | {"per_class": None}
    assert len(json.dumps(listed)) < 2_000
    assert alone["labels"] == list(labels)
    assert alone["confusion"] is None
    assert len(json.dumps(alone)) < 30_000


def test_labels_without_end_are_left_out() -> None:
    """A megabyte is enough."""
    long = replace(CARD, labels=("x" * 600_000, "y" * 600_000))
    assert read_facts(long, DETAILS)["labels"] is None
    assert read_facts(replace(CARD, labels=("x" * 600_000,)), DETAILS)["labels"] == ["x" * 500 + "…"]


@settings(max_examples=60, deadline=None)
@given(
    values=st.dictionaries(st.sampled_from(CARD_KEYS), HOSTILE),
    changes=st.dictionaries(st.sampled_from(sorted(SIGNATURE)), HOSTILE),
    text=st.text(st.characters(codec=None), min_size=1, max_size=50),
)
def test_whatever_a_signature_holds_becomes_small_finite_json(
    values: dict[str, object], changes: dict[str, object], text: str
) -> None:
    """It goes through the strictest writer, as UTF-8, and never exceeds its bound."""
    signature = {"card": values} | changes
    card = replace(CARD, signature=signature, attention=text, labels=(text, text), recipe_reasons=(text,))
    for facts in (SUMMARY, DETAILS):
        shown = read_facts(card, facts)
        written = json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()
        assert json.loads(written) == shown
        assert shown.keys() == read_facts(CARD, facts).keys()
        # A character is 6 bytes at most: "\u0000".
        assert len(written) < 6 * (MOST_OF_A_CARD + 5 * 8192)
