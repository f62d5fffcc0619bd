"""The card: what is read from a signature, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from serve.core.card import AttentionBlock, CardError, ModelCard, parse_card
from serve.core.messages import ModelRef

SIGNATURE: dict[str, Any] = {
    "format": 1,
    "name": "digits_sk",
    "version": "2",
    "labels": ["zero", "eins"],
    "input": {"size": [8, 16]},
    "attention": "sk",
    "attention_layout": [
        {"block": "layer1.0", "channels": 4, "branches": 2},
        {"block": "layer2.0", "channels": 3, "branches": 1},
    ],
    "trained": True,
    "batch_buckets": [1, 8, 4],
    "weights_sha256": "not the gateway's business",
}


def test_a_signature_becomes_a_card() -> None:
    """Every key that the gateway needs, with the largest warmed-up batch and the columns of the gates."""
    card = parse_card(SIGNATURE, contents_sha256="ab")
    assert card == ModelCard(
        ref=ModelRef(name="digits_sk", version="2"),
        labels=("zero", "eins"),
        input_size=(8, 16),
        attention="sk",
        attention_layout=(
            AttentionBlock(block="layer1.0", channels=4, branches=2),
            AttentionBlock(block="layer2.0", channels=3, branches=1),
        ),
        trained=True,
        max_batch=8,
        contents_sha256="ab",
        signature=SIGNATURE,
    )
    assert (card.classes, card.attention_columns) == (2, 11)


@pytest.mark.parametrize("key", sorted(set(SIGNATURE) - {"format", "weights_sha256"}))
def test_a_missing_key_is_named(key: str) -> None:
    """Whichever is missing."""
    with pytest.raises(CardError, match=f"key '{key}' is missing"):
        parse_card({name: value for name, value in SIGNATURE.items() if name != key})


@pytest.mark.parametrize("found", [None, 2, "1"])
def test_another_format_is_refused(found: object) -> None:
    """The message says which format is read."""
    with pytest.raises(CardError, match=r"format is .*, this gateway reads 1"):
        parse_card(SIGNATURE | {"format": found})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Digits"}, "name is 'Digits', must match"),
        ({"name": "../etc"}, "name is '../etc', must match"),
        ({"name": 5}, "name is 5, must be a string"),
        ({"version": "1.0"}, "version is '1.0', must be a whole number"),
        ({"version": "01"}, "version is '01'"),
        ({"version": 1}, "version is 1, must be a string"),
        ({"labels": "ab"}, "labels must be a list of strings"),
        ({"labels": []}, "labels must be a list of strings"),
        ({"labels": ["a", 1]}, "labels must be a list of strings"),
        ({"input": {}}, "key 'size' is missing"),
        ({"input": None}, "wrong type"),
        ({"input": {"size": [8]}}, "wrong type"),
        ({"input": {"size": [8, 0]}}, r"input\.size has 0, must be whole numbers from 1 on"),
        ({"attention": None}, "attention is None, must be a string"),
        ({"attention_layout": [{"block": "a", "channels": 0, "branches": 1}]}, "channels has 0"),
        ({"attention_layout": ["a"]}, "wrong type"),
        ({"trained": "false"}, "trained is 'false', must be true or false"),
        ({"batch_buckets": []}, "wrong type"),
        ({"batch_buckets": [1, True]}, "batch_buckets has True"),
        ({"batch_buckets": ["8"]}, "batch_buckets has '8'"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, object], message: str) -> None:
    """A card never holds what would fail later, in the middle of a request."""
    with pytest.raises(CardError, match=message):
        parse_card(copy.deepcopy(SIGNATURE) | change)
