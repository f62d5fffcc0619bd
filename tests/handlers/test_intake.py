"""The way in: the same rows whatever is decoded first, where, and in how many parts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from handlers.attn_archive import read_signature
from handlers.attn_batch import Preparer, within
from handlers.attn_decode import ImageLimits
from handlers.attn_decoders import DecoderChoice
from handlers.attn_device import decode_threads_for, overlaps, stages
from handlers.attn_gpu_jpeg import GpuJpegs
from handlers.attn_preprocess import Recipe
from handlers.attn_wire import Buffer, Item

if TYPE_CHECKING:
    from tests.handlers.conftest import Archive, Encode

RECIPE = Recipe(
    size=(16, 16), method="stretch", resize=(16, 16), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
)
COLOURS = ("black", "red", "green", "blue", "white", "gray")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two threads."""
    with ThreadPoolExecutor(2) as made:
        yield made


def _colours(pixels: Tensor) -> list[list[int]]:
    return pixels[:, 0, 0].tolist()


def test_parts_are_the_whole(encode: Encode, pool: ThreadPoolExecutor) -> None:
    """Items keep their numbers, bad ones are left out of their part, and no row moves or changes."""
    files = [encode("PNG", colour) for colour in COLOURS]
    items: list[Item] = [*files[:2], b"no image", np.zeros((3, 16, 16), np.float32), *files[2:]]
    preparer = Preparer(RECIPE, ImageLimits(), pool, pin=False)
    whole = preparer.prepare(items)
    parts = list(preparer.in_stages(items, [3, 5]))
    assert [part.order for part in parts] == [(0, 1), (4, 5, 6, 7, 3)]
    assert [list(part.failures) for part in parts] == [[2], []]
    assert list(whole.failures) == [2]
    assert torch.equal(torch.cat([part.batch.pixels for part in parts]), whole.batch.pixels)
    assert len(parts[1].batch.tensors) == 1


def test_later_parts_are_decoded_while_an_earlier_is_used(encode: Encode, pool: ThreadPoolExecutor) -> None:
    """The last item is read before anybody asks for the second part."""
    read = Event()
    blob = encode("JPEG", "red")

    def noted(file: Buffer, width: int, height: int) -> None:
        if bytes(file) != blob:
            read.set()
        assert (width, height) == (16, 16)

    choice = DecoderChoice(name="noted", jpeg=noted)
    parts = Preparer(RECIPE, ImageLimits(), pool, pin=False, decoder=choice).in_stages(
        [blob, blob, encode("JPEG", "blue")], [2, 1]
    )
    next(parts)
    assert read.wait(10)
    assert len(next(parts).batch.pixels) == 1


class _White(GpuJpegs):
    """A decoder on the GPU that sees only white, and gives up on the first file of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def read(self, blobs: Sequence[Buffer], recipe: Recipe) -> list[Tensor | None]:
        self.calls.append(len(blobs))
        white = torch.full((*recipe.size, 3), 255, dtype=torch.uint8)
        return [None, *[white] * (len(blobs) - 1)]


def test_the_gpus_rows_join_those_of_the_cpu(encode: Encode, pool: ThreadPoolExecutor) -> None:
    """Plain JPEG files go to the GPU, within the budget; others, and what it gives up on, do not."""
    gpu = _White()
    choice = DecoderChoice(name="nvimgcodec", gpu=gpu)
    red, green = encode("PNG", "red"), encode("JPEG", (0, 128, 0), quality=100)
    items = [green, red, green, b"\xff\xd8\xffno", green]
    limits = ImageLimits(max_image_pixels=2 * 16 * 16)
    prepared = Preparer(RECIPE, limits, pool, pin=False, decoder=choice).prepare(items)
    assert gpu.calls == [2, 1]
    assert prepared.order == (0, 1, 2, 4)
    assert "cannot decode this JPEG" in str(prepared.failures[3])
    rows = np.array(_colours(prepared.batch.pixels))
    assert np.abs(rows - [[0, 128, 0], [255, 0, 0], [255, 255, 255], [0, 128, 0]]).max() <= 2


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(50, 100))
def test_groups_stay_within_the_budget(sizes: list[int], limit: int) -> None:
    """Each item is in one group, in order, and no group exceeds the limit."""
    numbered = dict(enumerate(sizes))
    groups = list(within(numbered, limit))
    assert [number for group in groups for number in group] == list(numbered)
    assert all(0 < sum(numbered[number] for number in group) <= limit for group in groups)


@given(st.integers(1, 200), st.lists(st.integers(1, 64), min_size=1, unique=True).map(sorted), st.booleans())
def test_two_parts_at_most(count: int, buckets: list[int], overlapping: bool) -> None:
    """They hold all items; the first fills a bucket, and is no larger than the second."""
    sizes = stages(count, buckets, overlapping=overlapping)
    assert sum(sizes) == count
    if len(sizes) > 1:
        assert overlapping
        assert count >= 16
        assert sizes[0] in buckets
        assert sizes[0] <= sizes[1]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (15, [15]), (16, [8, 8]), (24, [8, 16]), (32, [16, 16])]
)
def test_small_batches_stay_whole(count: int, sizes: list[int]) -> None:
    """Worked by hand for the zoo's buckets."""
    assert stages(count, [1, 2, 4, 8, 16, 32], overlapping=True) == sizes
    assert stages(count, [1, 2, 4, 8, 16, 32], overlapping=False) == [count]


def test_cores_that_idle_decode() -> None:
    """With a GPU they do; on a CPU only those that the forward pass leaves."""
    assert overlaps(2, 2, on_cuda=True)
    assert overlaps(2, 1, on_cuda=False)
    assert not overlaps(2, 2, on_cuda=False)


def test_each_core_has_a_decoding_thread() -> None:
    """Up to sixteen."""
    assert [decode_threads_for(cores) for cores in (1, 2, 16, 64)] == [1, 2, 16, 16]


def test_parts_are_computed_as_the_whole_is(
    archive: Archive, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits and failures of 40 items do not depend on whether decoding overlaps."""
    archive.rewrite(batch_buckets=[1, 8, 16])
    random = np.random.default_rng(0)
    files = [
        encode("PNG", Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)))
        for _ in range(39)
    ]
    found = []
    for overlapping in (False, True):
        monkeypatch.setattr("handlers.attn_intake.overlaps", lambda *_, on_cuda, o=overlapping: o or on_cuda)
        classifier, _ = archive.load()
        found.append(classifier.run([*files[:20], b"broken", *files[20:]], explain=False))
    for run in found:
        assert list(run.results.failures) == [20]
        assert run.decode_us > 0
        assert run.inference_us > 0
    whole, parts = (run.results.arrays["logits"] for run in found)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def test_the_decoder_is_told(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker's log names it, and why a better one is not used."""
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with caplog.at_level("INFO", logger="handlers.classify"):
        archive.load(config={"handler": {"decoder": "nvimgcodec", "decode_threads": 1}})
    assert "ready on cpu, recipe portable, decoder pillow" in caplog.text
    assert "decoder pillow is used: nvimgcodec: decodes on a GPU, and this worker runs on cpu" in caplog.text
    assert "decoder pillow is used: simplejpeg: cannot be imported" in caplog.text


def test_a_wrong_option_is_refused_at_load(archive: Archive) -> None:
    """With the sentence that says what is allowed."""
    assert read_signature(archive.folder).name == "tiny"
    with pytest.raises(RuntimeError, match="decoder: must be one of auto, pillow, simplejpeg, nvimgcodec"):
        archive.load(config={"handler": {"decoder": "opencv"}})
