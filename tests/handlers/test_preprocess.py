"""Preprocessing: the recipe's geometry, what the short cuts cost, and the normalisation's formula."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from handlers.attn_decode import Decoder, ImageLimits
from handlers.attn_preprocess import Recipe, fit, fit_into, fit_tensor, normalise

if TYPE_CHECKING:
    from tests.handlers.conftest import Encode

IMAGENET = Recipe(
    size=(224, 224),
    method="shorter_side",
    resize=(256, 256),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def _photo(width: int, height: int) -> Image.Image:
    """Soft shapes with grain on top: as hard for a resize as a photograph."""
    random = np.random.default_rng(0)
    shapes = Image.fromarray(random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    grain = random.integers(-12, 13, (height, width, 3))
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def _distance(found: Image.Image, expected: Image.Image) -> tuple[int, float]:
    levels = np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int))
    return int(levels.max()), float(levels.mean())


def _resized_then_cropped(image: Image.Image, recipe: Recipe) -> Image.Image:
    """The recipe to the letter: resize the shorter side, then cut out the centre."""
    shorter = min(image.size)
    width, height = (int(recipe.resize[0] * side / shorter) for side in image.size)
    whole = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - recipe.size[1]) / 2), round((height - recipe.size[0]) / 2)
    return whole.crop((left, top, left + recipe.size[1], top + recipe.size[0]))


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (300, 1111), (64, 48), (1, 700)])
def test_the_crop_box_equals_resize_and_crop(size: tuple[int, int]) -> None:
    """Cropping within the resize changes no level by more than one."""
    image = _photo(*size)
    exact = fit(image, IMAGENET, reducing_gap=None)
    assert exact.size == (224, 224)
    assert _distance(exact, _resized_then_cropped(image, IMAGENET))[0] <= 1


@pytest.mark.parametrize("method", ["shorter_side", "stretch"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (64, 48), (224, 224), (256, 256), (500, 250), (900, 90), (1, 700)]
)
def test_what_is_served_is_pillows_exact_resize(
    size: tuple[int, int], interpolation: str, method: str
) -> None:
    """Within one level of Pillow's resize, two with bicubic's overshoot, from an image and from an array."""
    recipe = replace(IMAGENET, interpolation=interpolation, method=method)
    image = _photo(*size)
    expected = np.asarray(fit(image, recipe, reducing_gap=None)).astype(int)
    for picture in (image, np.asarray(image)):
        slot = np.zeros((224, 224, 3), np.uint8)
        fit_into(slot, picture, recipe)
        assert np.abs(slot - expected).max() <= (1 if interpolation == "bilinear" else 2)


def test_what_the_crop_drops_is_not_computed() -> None:
    """A strip of 4 x 4000 pixels, 224 x 256000 when resized whole, is cropped as it is resized."""
    strip = np.asarray(_photo(4000, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handlers.attn_preprocess.fit_tensor", None)
        fit_into(np.zeros((224, 224, 3), np.uint8), strip, IMAGENET)


def test_other_devices_resize_in_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does, done here in float32, is Pillow's resize within one level, after rounding."""
    image = _photo(500, 375)
    pixels = torch.from_numpy(np.array(image))
    monkeypatch.setattr("handlers.attn_preprocess.RESIZES_BYTES", ())
    found = fit_tensor(pixels, IMAGENET)
    assert found.dtype == torch.uint8
    expected = np.asarray(fit(image, IMAGENET, reducing_gap=None)).astype(int)
    assert np.abs(found.numpy() - expected).max() <= 1


@pytest.mark.parametrize("size", [(500, 375), (1280, 960), (2000, 3000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_short_cuts_stay_close(encode: Encode, kind: str, size: tuple[int, int]) -> None:
    """Reduced decoding and shrinking stay within 12 of 256 levels, and within 1.5 on average."""
    blob = encode(kind, _photo(*size))
    fast = np.zeros((224, 224, 3), np.uint8)
    fit_into(fast, Decoder(ImageLimits()).read(blob, least_side=IMAGENET.least_side), IMAGENET)
    exact = fit(Image.open(io.BytesIO(blob)).convert("RGB"), IMAGENET, reducing_gap=None)
    largest, average = _distance(Image.fromarray(fast), exact)
    assert largest <= 12
    assert average <= 1.5


def test_large_jpegs_are_decoded_small(encode: Encode) -> None:
    """The short cut is really taken: 2000 x 3000 pixels shrink to 500 x 750, above 1.5 times the target."""
    blob = encode("JPEG", _photo(2000, 3000))
    image = Decoder(ImageLimits()).decode(blob, least_side=IMAGENET.least_side)
    assert image.size == (500, 750)


def test_stretch_ignores_proportions() -> None:
    """The whole image fits into the input, left half and right half alike."""
    image = Image.new("RGB", (400, 100), "red")
    image.paste("blue", (200, 0, 400, 100))
    recipe = replace(IMAGENET, method="stretch", size=(10, 20), resize=(10, 20))
    found = np.asarray(fit(image, recipe))
    assert found.shape == (10, 20, 3)
    assert found[:, 0].tolist() == [[255, 0, 0]] * 10
    assert found[:, -1].tolist() == [[0, 0, 255]] * 10


def test_an_image_of_the_right_size_is_left_alone() -> None:
    """Nothing is resampled where nothing needs to be."""
    image = _photo(28, 28)
    recipe = replace(IMAGENET, method="stretch", size=(28, 28), resize=(28, 28))
    assert np.array_equal(np.asarray(fit(image, recipe)), np.asarray(image))


def test_normalise_is_its_formula() -> None:
    """(pixels / 255 - mean) / std, with the channels first."""
    pixels = torch.randint(
        0, 256, (2, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = normalise(pixels, IMAGENET.mean, IMAGENET.std)
    scaled = pixels.numpy().astype(np.float64) / 255
    expected = ((scaled - IMAGENET.mean) / IMAGENET.std).transpose(0, 3, 1, 2)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_formats_and_precisions_share_their_values(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    """In any layout the values are numpy's float32 of the same three operations, rounded once."""
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 7).view(2, 32, 28, 3)
    found = normalise(pixels, IMAGENET.mean, IMAGENET.std, dtype=dtype, memory_format=memory_format)
    mean, std = np.array(IMAGENET.mean, np.float32), np.array(IMAGENET.std, np.float32)
    expected = ((pixels.numpy().astype(np.float32) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=memory_format)
    assert torch.equal(found, torch.from_numpy(expected).to(dtype))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "fill"}, "resize.method: must be one of stretch, shorter_side, got 'fill'"),
        (
            {"interpolation": "nearest"},
            "resize.interpolation: must be one of bilinear, bicubic, got 'nearest'",
        ),
        ({"resize": (200, 200)}, r"resize.size: must not be below size \(224, 224\), got \(200, 200\)"),
        ({"std": (0.1, 0.0, 0.1)}, "std: must be above 0"),
    ],
)
def test_recipes_that_cannot_be_followed_are_refused(changes: dict[str, object], words: str) -> None:
    """A recipe is valid from birth."""
    with pytest.raises(ValueError, match=words):
        replace(IMAGENET, **changes)  # type: ignore[arg-type] # wrong on purpose
