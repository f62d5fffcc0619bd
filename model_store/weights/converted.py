"""A file's weights, brought to the names and shapes that a net of the zoo has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from torch import Tensor, nn

from model_store.errors import InputError
from model_store.weights.layout import Layout, Weights
from model_store.weights.layouts import GENERIC
from model_store.weights.read import COUNTERS, WeightsFile

Shape: TypeAlias = tuple[int, ...]

_PLACE: Final = re.compile(r"\.(attention(?:_\w+)?)\.gate\.")
_STANDARD: Final = "attention"
_HEAD: Final = re.compile(r"^fc\.\d+\.(weight|bias)$")
"""The only layer of a sequence that has weights, as where a dropout was put before it; two clash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file's weights under our names, with the names that they have in the file."""

    tensors: Mapping[str, Tensor]
    origin: Mapping[str, str]

    def named(self, key: str) -> str:
        """Return a name of ours, followed by the file's own where that differs."""
        foreign = self.origin.get(key, key)
        return key if foreign == key else f"{key} ({foreign} in the file)"


def converted(layout: Layout, file: WeightsFile, net: nn.Module) -> Converted:
    """Rename, reorder and reshape a file's weights for a net.

    Raises:
        InputError: Two weights of the file would be the same one, or a part cannot be put together.
    """
    place = _place(net) if layout is GENERIC else _STANDARD
    origin: dict[str, str] = {}
    renamed: dict[str, Tensor] = {}
    for key, value in file.tensors.items():
        ours = _HEAD.sub(r"fc.\1", layout.renamed(key)).replace(f".{_STANDARD}.gate.", f".{place}.gate.")
        if ours in renamed:
            raise InputError(f"checkpoint: {origin[ours]} and {key} are both {ours}; there must be one")
        origin[ours], renamed[ours] = key, value
    return Converted(tensors=_reshaped(layout.transform(renamed), net), origin=origin)


def shapes_of(net: nn.Module) -> dict[str, Shape]:
    """Name -> shape of each weight and running statistic of a net, without counters."""
    return {key: tuple(value.shape) for key, value in net.state_dict().items() if not key.endswith(COUNTERS)}


def _place(net: nn.Module) -> str:
    """Return what a net calls the attention of its blocks; another's own class may stand in any place."""
    names = {match[1] for key in shapes_of(net) if (match := _PLACE.search(key))}
    return names.pop() if len(names) == 1 else _STANDARD


def _reshaped(weights: Weights, net: nn.Module) -> Weights:
    """Give each weight as many dimensions as its layer has: a 1x1 convolution is a linear layer."""
    wanted = shapes_of(net)
    return {
        key: _with_rank(value, len(wanted[key])) if key in wanted else value for key, value in weights.items()
    }


def _with_rank(value: Tensor, rank: int) -> Tensor:
    """Add or take off dimensions of length 1 at the end; where that does not lead there, change nothing."""
    shape = tuple(value.shape)
    if rank > len(shape):
        return value.reshape(*shape, *(1,) * (rank - len(shape)))
    if all(length == 1 for length in shape[rank:]):
        return value.reshape(shape[:rank])
    return value
