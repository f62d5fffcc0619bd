"""What the tests of filling nets share."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from model_store import zoo
from model_store.weights.fill import Filled, fill
from model_store.weights.read import WeightsFile

Weights: TypeAlias = dict[str, Tensor]
CLASSES = 10


def file_of(weights: Mapping[str, Tensor], architecture: str | None = None) -> WeightsFile:
    """A file with these weights."""
    kept = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    return WeightsFile(path=Path("w.pth"), sha256="0" * 64, tensors=kept, architecture=architecture)


def filled(name: str, weights: Mapping[str, Tensor], **more: zoo.Form) -> Filled:
    """The row's net with these weights."""
    return fill(zoo.get(name), file_of(weights), classes=CLASSES, **more)


def weights_of(name: str) -> Weights:
    """Fresh weights of a row, under our names."""
    return dict(zoo.get(name).build(CLASSES).state_dict())


def renamed(weights: Mapping[str, Tensor], old: str, new: str) -> Weights:
    """The weights with a part of each name replaced."""
    return {key.replace(old, new): value for key, value in weights.items()}
