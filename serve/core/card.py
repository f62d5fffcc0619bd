"""ModelCard: the few keys of an archive's signature.json that the gateway needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.core.errors import InvalidRequestError
from serve.core.messages import MODEL_NAME, MODEL_VERSION, ModelRef

SIGNATURE_FORMAT = 1
_NAME = re.compile(MODEL_NAME)
_VERSION = re.compile(MODEL_VERSION)


class CardError(InvalidRequestError):
    """A signature lacks a key, or a value breaks its rule; the archive's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionBlock:
    """Columns of the `attention` output that belong to one block: channels * branches, branch-major."""

    block: str
    channels: int
    branches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model takes and gives, read from its signature.

    Attributes:
        ref: Name and version.
        labels: K class names, in the order of the outputs' columns.
        input_size: (H, W) of the network's input.
        attention: The kind of channel attention, "none" for a plain net.
        attention_layout: Blocks of the `attention` output; empty when it is not offered.
        trained: False when the weights are random; every reply then says so.
        max_batch: Largest batch that the worker has warmed up, in images.
        contents_sha256: Digest of the archive's inner SHA256SUMS; "" when unknown.
        signature: The whole signature, for people.
        recipe: Name of the form in which a worker serves the net; "" when unknown.
        recipe_reasons: Why it serves no other form, one sentence each.
        decoder: What reads JPEG files in the worker; "" when unknown.
    """

    ref: ModelRef
    labels: tuple[str, ...]
    input_size: tuple[int, int]
    attention: str
    attention_layout: tuple[AttentionBlock, ...]
    trained: bool
    max_batch: int
    contents_sha256: str
    signature: Mapping[str, Any]
    recipe: str = ""
    recipe_reasons: tuple[str, ...] = ()
    decoder: str = ""

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.labels)

    @property
    def attention_columns(self) -> int:
        """Columns of the `attention` output; 0 when it is not offered."""
        return sum(block.channels * block.branches for block in self.attention_layout)


def parse_card(signature: Mapping[str, Any], *, contents_sha256: str = "") -> ModelCard:
    """Read the keys that the gateway needs; all others are the handler's business.

    Args:
        signature: The parsed signature.json.
        contents_sha256: Digest of the archive's inner SHA256SUMS, if known.

    Raises:
        CardError: A key is missing or its value breaks its rule; the message names it.
    """
    found = signature.get("format")
    if found != SIGNATURE_FORMAT:
        raise CardError(f"signature.json: format is {found!r}, this gateway reads {SIGNATURE_FORMAT}")
    try:
        return ModelCard(
            ref=_ref(signature),
            labels=_labels(signature["labels"]),
            input_size=_size(signature["input"]["size"]),
            attention=_text(signature, "attention"),
            attention_layout=tuple(_block(entry) for entry in signature["attention_layout"]),
            trained=_trained(signature["trained"]),
            max_batch=max(_count(bucket, "batch_buckets") for bucket in signature["batch_buckets"]),
            contents_sha256=contents_sha256,
            signature=signature,
        )
    except KeyError as error:
        raise CardError(f"signature.json: key {error.args[0]!r} is missing") from error
    except (TypeError, ValueError) as error:
        raise CardError(f"signature.json: a value has the wrong type: {error}") from error


def _ref(signature: Mapping[str, Any]) -> ModelRef:
    name, version = _text(signature, "name"), _text(signature, "version")
    if not _NAME.fullmatch(name):
        raise CardError(f"signature.json: name is {name!r}, must match {_NAME.pattern}")
    if not _VERSION.fullmatch(version):
        raise CardError(f"signature.json: version is {version!r}, must be a whole number from 1 to 999999")
    return ModelRef(name=name, version=version)


def _labels(labels: object) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise CardError("signature.json: labels must be a list of strings, one a class")
    return tuple(labels)


def _size(size: list[object]) -> tuple[int, int]:
    height, width = size
    return _count(height, "input.size"), _count(width, "input.size")


def _block(entry: Mapping[str, Any]) -> AttentionBlock:
    return AttentionBlock(
        block=_text(entry, "block"),
        channels=_count(entry["channels"], "attention_layout.channels"),
        branches=_count(entry["branches"], "attention_layout.branches"),
    )


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str):
        raise CardError(f"signature.json: {key} is {value!r}, must be a string")
    return value


def _trained(value: object) -> bool:
    if not isinstance(value, bool):
        raise CardError(f"signature.json: trained is {value!r}, must be true or false")
    return value


def _count(value: object, key: str) -> int:
    # `bool` is an `int` in Python.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CardError(f"signature.json: {key} has {value!r}, must be whole numbers from 1 on")
    return value
