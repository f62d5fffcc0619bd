"""The comparison of decoders: its reference is the recipe to the letter, and its figures are differences."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from loadtests.bench_decode import IMAGENET, REFERENCE, jpegs, measure, pillow_alone, reference, served

pytest.importorskip("sklearn")


def test_the_reference_decodes_and_resizes_in_full() -> None:
    """500 x 375 to 341 x 256, of which columns 58 to 282 and rows 16 to 240 remain, by Pillow's own steps."""
    blob = jpegs(1, (500, 375))[0]
    whole = Image.open(io.BytesIO(blob)).resize((341, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(reference(blob, IMAGENET), np.asarray(whole)[16:240, 58:282])


def test_large_photographs_have_their_size() -> None:
    """Those beyond the sources are enlarged, and are JPEG files."""
    image = Image.open(io.BytesIO(jpegs(1, (1280, 960))[0]))
    assert (image.format, image.size) == ("JPEG", (1280, 960))


def test_ways_are_measured_against_the_reference() -> None:
    """It differs from itself in nothing, and the short cuts by a few levels at a size where they apply."""
    ways = {REFERENCE: reference, "alone": pillow_alone, "served": served("pillow")}
    same, alone, through = measure(ways, (1280, 960), rounds=1)
    assert (same.largest, same.mean) == (0, 0.0)
    for cost in (alone, through):
        assert 0 < cost.largest <= 12
        assert 0 < cost.mean < 1
        assert cost.cpu_ms > 0
