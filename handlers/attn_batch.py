"""Many rows to one forward pass, and its results back to the items they came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from .attn_decode import INVALID, Decoder, ImageError, ImageLimits, check_pixels
from .attn_decoders import DecoderChoice
from .attn_net import NetInput, NetOutput
from .attn_preprocess import Picture, Recipe, fit_into
from .attn_wire import Floats, Item, Pixels

INTERNAL: Final = 13  # gRPC's

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Some items, ready for the net.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """An item and where it goes: uint8 [H,W,3], or float32 [3,H,W] for a finished input."""

    number: int
    item: Item
    slot: Pixels | Floats


class _Stage:
    """The memory of one input of the net, and which items go where in it."""

    def __init__(self, items: Sequence[Item], numbers: range, recipe: Recipe, *, pin: bool) -> None:
        height, width = recipe.size
        self._images = [number for number in numbers if not _is_tensor(items[number])]
        self._inputs = [number for number in numbers if _is_tensor(items[number])]
        self._pixels = torch.empty(len(self._images), height, width, 3, dtype=torch.uint8, pin_memory=pin)
        self._tensors = torch.empty(len(self._inputs), 3, height, width, pin_memory=pin)
        self._read: Mapping[int, Tensor] = {}
        pixels, tensors = self._pixels.numpy(), self._tensors.numpy()
        self.jobs = [
            *(_Job(number=n, item=items[n], slot=pixels[slot]) for slot, n in enumerate(self._images)),
            *(_Job(number=n, item=items[n], slot=tensors[slot]) for slot, n in enumerate(self._inputs)),
        ]

    def take(self, read: Mapping[int, Tensor]) -> None:
        """Take rows that lie on the GPU already, by item number; they are no jobs any more."""
        self._read = read
        self.jobs = [job for job in self.jobs if job.number not in read]

    def prepared(self, failures: Mapping[int, ImageError]) -> Prepared:
        """The input, once all jobs are done."""
        pixels = self._pixels
        for number, row in self._read.items():
            pixels = pixels.to(row.device, non_blocking=True)  # all of them, once
            pixels[self._images.index(number)] = row
        images, inputs = self._images, self._inputs
        return Prepared(
            batch=NetInput(
                pixels=_kept(pixels, images, failures), tensors=_kept(self._tensors, inputs, failures)
            ),
            order=tuple(number for number in images + inputs if number not in failures),
            failures=failures,
        )


class Preparer:
    """Decodes and resizes items, several at a time."""

    def __init__(
        self,
        recipe: Recipe,
        limits: ImageLimits,
        pool: Executor,
        *,
        pin: bool,
        decoder: DecoderChoice | None = None,
    ) -> None:
        """Take what decides how items become inputs.

        Args:
            recipe: How to resize.
            limits: What one image may cost.
            pool: Threads to decode in.
            pin: Whether a GPU is to read the batch.
            decoder: What reads JPEG files; None: Pillow.
        """
        choice = decoder or DecoderChoice()
        self._recipe = recipe
        self._limits = limits
        self._decoder = Decoder(limits, choice.jpeg)
        self._gpu = choice.gpu
        self._pool = pool
        self._pin = pin

    def prepare(self, items: Sequence[Item]) -> Prepared:
        """Turn items into one input of the net; a bad item takes nobody else with it."""
        return next(self.in_stages(items, [len(items)]))

    def in_stages(self, items: Sequence[Item], sizes: Sequence[int]) -> Iterator[Prepared]:
        """Turn items into several inputs, of which the later are decoded while the earlier are used.

        Args:
            items: N of them.
            sizes: How many items go into each input; their sum is N.

        Returns:
            One for each size, in order. Items are numbered from 0 over all.
        """
        stages = [
            _Stage(items, range(end - size, end), self._recipe, pin=self._pin)
            for size, end in zip(sizes, accumulate(sizes), strict=True)
        ]
        for stage in stages:
            stage.take(self._read_on_gpu(stage.jobs))
        begun = [self._begin(stage.jobs, alone=len(items) == 1) for stage in stages]
        return (stage.prepared(failures()) for stage, failures in zip(stages, begun, strict=True))

    def _begin(self, jobs: Sequence[_Job], *, alone: bool) -> Callable[[], Mapping[int, ImageError]]:
        """Start jobs; what is returned waits for their end and says which failed, by item number."""
        if alone:  # handing a lone item to another thread only costs time
            done = [(job.number, self._fill(job)) for job in jobs]
            return lambda: {number: failure for number, failure in done if failure is not None}
        running = [(job.number, self._pool.submit(self._fill, job)) for job in jobs]
        return lambda: {
            number: failure for number, future in running if (failure := future.result()) is not None
        }

    def _fill(self, job: _Job) -> ImageError | None:
        try:
            if _is_tensor(job.item):
                job.slot[...] = _checked_input(job.item, self._recipe)
            else:
                fit_into(cast("Pixels", job.slot), self._picture(job.item), self._recipe)
        except ImageError as failure:
            return failure
        except Exception:  # noqa: BLE001 # a bug met by one item must not take its neighbours along
            _log.exception("preparing an item failed")
            return ImageError(INTERNAL, "image: an internal error; see the worker's log")
        return None

    def _picture(self, item: Item) -> Picture:
        if not isinstance(item, np.ndarray):
            return self._decoder.read(item, least_side=self._recipe.least_side)
        check_pixels(item.shape[1], item.shape[0], self._limits)
        return cast("Pixels", item)

    def _read_on_gpu(self, jobs: Sequence[_Job]) -> Mapping[int, Tensor]:
        """Rows uint8 [H,W,3] that the GPU's decoder gives, by item number; all others are left to the CPU."""
        if self._gpu is None:
            return {}
        files = {job.number: job.item for job in jobs if not isinstance(job.item, np.ndarray)}
        sizes = {number: self._decoder.plain_jpeg_pixels(file) for number, file in files.items()}
        plain = {number: pixels for number, pixels in sizes.items() if pixels is not None}
        rows: dict[int, Tensor | None] = {}
        for group in within(plain, self._limits.max_image_pixels):
            read = self._gpu.read([files[number] for number in group], self._recipe)
            rows |= zip(group, read, strict=True)
        return {number: row for number, row in rows.items() if row is not None}


def within(sizes: Mapping[int, int], limit: int) -> Iterator[list[int]]:
    """Split numbered sizes into groups whose sum stays within a limit, where each one does."""
    group: list[int] = []
    total = 0
    for number, size in sizes.items():
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(number)
        total += size
    if group:
        yield group


def scatter(output: NetOutput | None, stages: Sequence[Prepared], *, columns: Mapping[str, int]) -> Results:
    """Bring the net's rows back to their items and judge them.

    Args:
        output: What the net said of the stages' batches, one after the other; None when all are empty.
        stages: Where the rows came from.
        columns: Width of each array to make: `logits`, and `attention` if asked for.
    """
    placed = [number for stage in stages for number in stage.order]
    failures = {number: why for stage in stages for number, why in stage.failures.items()}
    count = len(placed) + len(failures)
    arrays = {name: np.full((count, width), np.nan, np.float32) for name, width in columns.items()}
    if output is not None:
        rows = {"logits": output.logits, "attention": output.gates}
        finite = np.isfinite(output.logits).all(axis=1)
        order = np.array(placed)
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
