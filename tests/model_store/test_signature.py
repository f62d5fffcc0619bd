"""signature.json: valid from birth, by the schema that all three houses share."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from model_store.errors import InputError
from model_store.proof import Parity
from model_store.script import GateBlock
from model_store.signature import Identity, InputRecipe, Resize, Signature

SCHEMA = json.loads((Path(__file__).parents[1] / "contract" / "signature.schema.json").read_text())

RECIPE = InputRecipe(
    size=(16, 16),
    resize=Resize(method="stretch", size=(16, 16), interpolation="bilinear"),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
IDENTITY = Identity(
    name="a.b-c_1", version="12", architecture="x", family="resnet", attention="se", trained=False
)
SIGNATURE = Signature(
    identity=IDENTITY,
    recipe=RECIPE,
    labels=("zero", "ünö"),
    attention_layout=(GateBlock(block="layer1.0", channels=8, branches=2),),
    weights_sha256="0" * 64,
    parity=Parity(tolerance=1e-4, max_abs_error=0.0, batch_sizes=(1, 2), form="trace", samples="random"),
    card={"macs": 3, "confusion": [[1, 0], [0, 1]]},
)


def schema_errors(signature: Signature) -> list[str]:
    """What the shared schema objects to."""
    return [
        error.message for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(signature.to_json()))
    ]


def test_a_signature_follows_the_schema() -> None:
    """The written document has every key that the schema asks for, and no other."""
    assert schema_errors(SIGNATURE) == []


def test_the_file_is_sorted_utf8_with_a_newline() -> None:
    """The same signature is the same bytes, and people can read it."""
    data = SIGNATURE.to_json()
    assert data.endswith(b"}\n")
    assert "ünö".encode() in data
    document = json.loads(data)
    assert list(document) == sorted(document)
    assert data == replace(SIGNATURE).to_json()


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "name with a slash": (lambda: replace(IDENTITY, name="a/b"), r"name: 'a/b' must match \[a-z0-9\]"),
    "name in capitals": (lambda: replace(IDENTITY, name="Digits"), "name: 'Digits' must match"),
    "name ending in a newline": (lambda: replace(IDENTITY, name="a\n"), "name: "),
    "long name": (lambda: replace(IDENTITY, name="a" * 65), "name: "),
    "version zero": (
        lambda: replace(IDENTITY, version="0"),
        "version: '0' must be an integer from 1 to 999999",
    ),
    "version with a dot": (lambda: replace(IDENTITY, version="1.0"), "version: '1.0'"),
    "one label": (lambda: replace(SIGNATURE, labels=("a",)), "labels: 1 given, at least 2"),
    "empty label": (lambda: replace(SIGNATURE, labels=("a", " ")), r"labels\[1\]: ' ' must not be empty"),
    "label twice": (
        lambda: replace(SIGNATURE, labels=("a", "b", "a")),
        r"labels\[2\]: 'a' stands already at 0",
    ),
    "no bucket": (lambda: replace(SIGNATURE, batch_buckets=()), "batch_buckets"),
    "bucket of nothing": (
        lambda: replace(SIGNATURE, batch_buckets=(0,)),
        r"batch_buckets: \[0\] must be positive",
    ),
    "no thread": (lambda: replace(SIGNATURE, threads=0), "threads: 0 must be at least 1"),
    "size 0": (lambda: replace(RECIPE, size=(0, 16)), r"input.size: \[0, 16\] must be"),
    "huge size": (lambda: replace(RECIPE, size=(16, 4097)), "from 1 to 4096 pixels"),
    "flat std": (lambda: replace(RECIPE, std=(1, 0, 1)), r"input.std: \[1, 0, 1\] must be above 0"),
    "stretched elsewhere": (
        lambda: replace(RECIPE, size=(8, 8)),
        r"input.resize.size: \[16, 16\] must be input.size \[8, 8\]",
    ),
    "crop of more than there is": (
        lambda: replace(RECIPE, size=(32, 32), resize=replace(RECIPE.resize, method="shorter_side")),
        r"input.resize.size: \[16, 16\] must not be below input.size \[32, 32\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_value_is_refused_with_its_rule(case: str) -> None:
    """The message names the parameter, shows the value and states the rule."""
    make, message = BAD[case]
    with pytest.raises(InputError, match=message):
        make()


def test_unknown_choices_are_refused() -> None:
    """Method, filter and precision are of closed lists, which the message shows."""
    with pytest.raises(InputError, match=r"input.resize.method: 'crop' must be one of stretch, shorter_side"):
        Resize(method="crop", size=(1, 1), interpolation="bilinear")  # type: ignore[arg-type] # what is tested
    with pytest.raises(InputError, match=r"dtype.cuda: 'int8' must be one of float32, float16, bfloat16"):
        replace(SIGNATURE, cuda_dtype="int8")  # type: ignore[arg-type] # what is tested


@given(
    name=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True),
    version=st.integers(1, 999_999),
    labels=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=5, unique=True),
)
def test_whatever_is_accepted_follows_the_schema(name: str, version: int, labels: list[str]) -> None:
    """No value that the classes let through is one that the schema refuses."""
    identity = replace(IDENTITY, name=name, version=str(version))
    assert schema_errors(replace(SIGNATURE, identity=identity, labels=tuple(labels))) == []
