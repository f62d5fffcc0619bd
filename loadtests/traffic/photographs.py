"""Photographs of several sizes, in each format that the gateway reads; nobody knows their right label."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from PIL import Image

from loadtests.traffic.sample import Sample

# Width and height in pixels: thumbnails, what nets take, an upright one, and all of the sources.
SIZES: Final = ((64, 64), (160, 120), (224, 224), (300, 400), (640, 427))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A way to encode: Pillow's name of the format, of the pixels, and its options."""

    name: str
    format: str
    mode: str = "RGB"
    options: Mapping[str, Any] = field(default_factory=dict)


FORMS: Final = (
    Form(name="JPEG", format="JPEG", options={"quality": 90}),
    Form(name="progressive JPEG", format="JPEG", options={"quality": 75, "progressive": True}),
    Form(name="grey JPEG", format="JPEG", mode="L"),
    Form(name="PNG", format="PNG"),
    Form(name="PNG with a palette", format="PNG", mode="P"),
    Form(name="WebP", format="WEBP", options={"quality": 80}),
    Form(name="BMP", format="BMP"),
    Form(name="GIF", format="GIF", mode="P"),
)


@cache
def photographs() -> tuple[Sample, ...]:
    """One of each size in each form, the same ones every time.

    Raises:
        ImportError: scikit-learn, from which they come, is not installed.
    """
    from loadtests.bench.photos import photos  # noqa: PLC0415  scikit-learn may be missing

    return tuple(
        Sample(
            name=f"a photograph of {size[0]} x {size[1]} pixels as {form.name}",
            label="",
            encoded=_encoded(jpeg, form),
        )
        for size in SIZES
        for jpeg, form in zip(photos(len(FORMS), size), FORMS, strict=True)
    )


def _encoded(jpeg: bytes, form: Form) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.convert(form.mode).save(buffer, form.format, **form.options)
    return buffer.getvalue()
