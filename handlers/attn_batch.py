"""Many rows to one forward pass, and its results back to the items they came from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .attn_decode import INVALID, Decoder, ImageError, ImageLimits, check_pixels
from .attn_net import NetInput, NetOutput
from .attn_preprocess import Recipe, fit
from .attn_wire import Floats, Item, Pixels

INTERNAL: Final = 13  # gRPC's

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """N items, ready for the net.

    Attributes:
        batch: The G usable ones.
        order: Item number of each of the G rows.
        failures: The others: why, by item number.
    """

    batch: NetInput
    order: tuple[int, ...]
    failures: Mapping[int, ImageError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What became of N items; the rows of failed ones are NaN.

    Attributes:
        arrays: By output name: `logits` and `probabilities` float32 [N,K], and `attention` float32 [N,C]
            where it was asked for.
        failures: Why an item failed, by its number.
    """

    arrays: Mapping[str, Floats]
    failures: Mapping[int, ImageError]

    def of_items(self, first: int, count: int) -> Results:
        """The results of `count` items from number `first` on, numbered from 0."""
        return Results(
            arrays={name: array[first : first + count] for name, array in self.arrays.items()},
            failures={
                number - first: why for number, why in self.failures.items() if 0 <= number - first < count
            },
        )


class Preparer:
    """Decodes and resizes items, several at a time."""

    def __init__(self, recipe: Recipe, limits: ImageLimits, pool: Executor, *, pin: bool) -> None:
        self._recipe = recipe
        self._limits = limits
        self._decoder = Decoder(limits)
        self._pool = pool
        self._pin = pin

    def prepare(self, items: Sequence[Item]) -> Prepared:
        """Turn items into one input of the net; a bad item takes nobody else with it."""
        images = [number for number, item in enumerate(items) if not _is_tensor(item)]
        inputs = [number for number, item in enumerate(items) if _is_tensor(item)]
        height, width = self._recipe.size
        pixels = torch.empty(len(images), height, width, 3, dtype=torch.uint8, pin_memory=self._pin)
        tensors = torch.empty(len(inputs), 3, height, width, pin_memory=self._pin)
        slots = [(items[n], pixels.numpy()[slot]) for slot, n in enumerate(images)]
        slots += [(items[n], tensors.numpy()[slot]) for slot, n in enumerate(inputs)]
        failures = {
            number: failure
            for number, failure in zip(images + inputs, self._filled(slots), strict=True)
            if failure is not None
        }
        return Prepared(
            batch=NetInput(pixels=_kept(pixels, images, failures), tensors=_kept(tensors, inputs, failures)),
            order=tuple(number for number in images + inputs if number not in failures),
            failures=failures,
        )

    def _filled(self, slots: Sequence[tuple[Item, Pixels | Floats]]) -> list[ImageError | None]:
        if len(slots) == 1:  # handing a lone item to another thread only costs time
            return [self._fill(slots[0])]
        return list(self._pool.map(self._fill, slots))

    def _fill(self, job: tuple[Item, Pixels | Floats]) -> ImageError | None:
        item, slot = job
        try:
            slot[...] = self._ready(item)
        except ImageError as failure:
            return failure
        except Exception:  # noqa: BLE001 # a bug met by one item must not take its neighbours along
            _log.exception("preparing an item failed")
            return ImageError(INTERNAL, "image: an internal error; see the worker's log")
        return None

    def _ready(self, item: Item) -> Pixels | Floats:
        if _is_tensor(item):
            return _checked_input(item, self._recipe)
        return np.asarray(fit(self._picture(item), self._recipe))

    def _picture(self, item: Item) -> Image.Image:
        if not isinstance(item, np.ndarray):
            return self._decoder.decode(item, least_side=self._recipe.least_side)
        check_pixels(item.shape[1], item.shape[0], self._limits)
        return Image.fromarray(item)


def scatter(output: NetOutput | None, prepared: Prepared, *, columns: Mapping[str, int]) -> Results:
    """Bring the net's rows back to their items and judge them.

    Args:
        output: What the net said of prepared.batch; None when that is empty.
        prepared: Where the rows came from.
        columns: Width of each array to make: `logits`, and `attention` if asked for.
    """
    count = len(prepared.order) + len(prepared.failures)
    arrays = {name: np.full((count, width), np.nan, np.float32) for name, width in columns.items()}
    failures = dict(prepared.failures)
    if output is not None:
        rows = {"logits": output.logits, "attention": output.gates}
        finite = np.isfinite(output.logits).all(axis=1)
        order = np.array(prepared.order)
        for name, array in arrays.items():
            array[order[finite]] = _present(rows[name])[finite]
        for number in order[~finite]:
            failures[int(number)] = ImageError(INVALID, "input: the net's output for it is not finite")
    arrays["probabilities"] = softmax(arrays["logits"])
    return Results(arrays=arrays, failures=failures)


def softmax(logits: Floats) -> Floats:
    """Row-wise softmax of float32 [N,K], in float32; rows of NaN stay NaN."""
    probabilities: Floats = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    return probabilities


def _present(rows: Floats | None) -> Floats:
    if rows is None:
        raise RuntimeError("gates were asked for, but the net was not run with explain")
    return rows


def _is_tensor(item: Item) -> TypeGuard[Floats]:
    return isinstance(item, np.ndarray) and item.dtype == np.float32


def _kept(rows: Tensor, numbers: Sequence[int], failures: Mapping[int, ImageError]) -> Tensor:
    good = [slot for slot, number in enumerate(numbers) if number not in failures]
    return rows if len(good) == len(numbers) else rows[good]


def _checked_input(tensor: Floats, recipe: Recipe) -> Floats:
    expected = (3, *recipe.size)
    if tensor.shape != expected:
        raise ImageError(
            INVALID, f"input: must have the shape {list(expected)} per item, got {list(tensor.shape)}"
        )
    if not np.isfinite(tensor).all():
        raise ImageError(INVALID, "input: every value must be finite")
    return tensor
