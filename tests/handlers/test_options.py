"""The `handler:` block of model-config.yaml: read whole, or refused by name."""

from __future__ import annotations

import pytest

from handlers.attn_decode import ImageLimits
from handlers.attn_options import Options


def test_what_the_block_leaves_out_keeps_its_default() -> None:
    """Each key is optional, and so is the block."""
    config: dict[str, object] = {"batchSize": 1, "handler": {"max_image_pixels": 100, "decoder": "pillow"}}
    limits = ImageLimits(max_image_bytes=20_000_000, max_image_pixels=100)
    assert Options.of_config(config) == Options(limits=limits, decoder="pillow", decode_threads=None)
    assert Options.of_config({"batchSize": 1}) == Options()


def test_the_wish_for_a_recipe_stands_beside_them() -> None:
    """attn_recipes reads it from the same block."""
    assert Options.of_config({"handler": {"recipe": "portable"}}) == Options()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"max_pixels": 1}, "takes .*max_image_pixels"),
        (5, "takes .*decoder"),
        ({"max_image_pixels": 0}, "max_image_pixels: must be an integer of at least 1, got 0"),
        ({"max_image_bytes": "9"}, "max_image_bytes: must be an integer of at least 1, got '9'"),
        ({"decoder": "opencv"}, "decoder: must be one of auto, pillow, simplejpeg, nvimgcodec, got 'opencv'"),
        ({"decode_threads": 0}, "decode_threads: must be null or an integer of at least 1, got 0"),
        ({"decode_threads": True}, "decode_threads: must be null or an integer of at least 1, got True"),
    ],
)
def test_wrong_values_are_refused(block: object, words: str) -> None:
    """Unknown keys and impossible values do not pass silently."""
    with pytest.raises(ValueError, match=words):
        Options.of_config({"handler": block})
