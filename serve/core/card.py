"""ModelCard: the few keys of an archive's signature.json that the gateway needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve.core.errors import InvalidRequestError
from serve.core.messages import ModelRef

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE_FORMAT = 1


class CardError(InvalidRequestError):
    """A signature lacks a key, or a value has the wrong type; the archive's fault."""


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

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.labels)

    @property
    def attention_columns(self) -> int:
        """Columns of the `attention` output; 0 when it is not offered."""
        return sum(block.channels * block.branches for block in self.attention_layout)


def parse_card(signature: Mapping[str, Any], *, contents_sha256: str = "") -> ModelCard:
    """Read the keys that the gateway needs.

    Args:
        signature: The parsed signature.json.
        contents_sha256: Digest of the archive's inner SHA256SUMS, if known.

    Raises:
        CardError: A key is missing or its value cannot be used; the message names it.
    """
    found = signature.get("format")
    if found != SIGNATURE_FORMAT:
        message = f"signature.json: format is {found!r}, this gateway reads {SIGNATURE_FORMAT}"
        raise CardError(message)
    try:
        height, width = (int(side) for side in signature["input"]["size"])
        return ModelCard(
            ref=ModelRef(name=str(signature["name"]), version=str(signature["version"])),
            labels=tuple(str(label) for label in signature["labels"]),
            input_size=(height, width),
            attention=str(signature["attention"]),
            attention_layout=tuple(_block(entry) for entry in signature["attention_layout"]),
            trained=bool(signature["trained"]),
            max_batch=max(int(bucket) for bucket in signature["batch_buckets"]),
            contents_sha256=contents_sha256,
            signature=signature,
        )
    except KeyError as error:
        message = f"signature.json: key {error.args[0]!r} is missing"
        raise CardError(message) from error
    except (TypeError, ValueError) as error:
        message = f"signature.json: a value cannot be read: {error}"
        raise CardError(message) from error


def _block(entry: Mapping[str, Any]) -> AttentionBlock:
    return AttentionBlock(
        block=str(entry["block"]), channels=int(entry["channels"]), branches=int(entry["branches"])
    )
