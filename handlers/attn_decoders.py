"""What reads JPEG files: Pillow, or something faster where it is installed and gives the same picture.

| name | what it is |
|---|---|
| `pillow` | Pillow's own reader, which is always there |
| `simplejpeg` | a thinner way to the same libjpeg-turbo; used only if it gives the very same bits |
| `nvimgcodec` | NVIDIA's nvImageCodec, which decodes on the GPU; close to Pillow's levels, not equal |
| `auto` | `simplejpeg` where it can be used, else `pillow` |

All other formats, and JPEG files that are not plain RGB or lie on their side, are Pillow's in every case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch

from .attn_gpu_jpeg import GpuJpegs, open_gpu_jpegs
from .attn_jpeg import DecoderError, JpegReader, open_simplejpeg

AUTO: Final = "auto"
PILLOW: Final = "pillow"
SIMPLEJPEG: Final = "simplejpeg"
NVIMGCODEC: Final = "nvimgcodec"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderChoice:
    """What was chosen.

    Attributes:
        name: `pillow`, `simplejpeg` or `nvimgcodec`.
        jpeg: Reads a plain JPEG into the CPU's memory; None: Pillow does.
        gpu: Reads plain JPEGs on the GPU; None: nothing does.
        reasons: One sentence for each decoder that was asked for, or tried, and cannot be used.
    """

    name: str = PILLOW
    jpeg: JpegReader | None = None
    gpu: GpuJpegs | None = None
    reasons: tuple[str, ...] = ()


_OPENERS: Final[Mapping[str, Callable[[torch.device], DecoderChoice]]] = {
    PILLOW: lambda _: DecoderChoice(),
    SIMPLEJPEG: lambda _: DecoderChoice(name=SIMPLEJPEG, jpeg=open_simplejpeg()),
    NVIMGCODEC: lambda device: DecoderChoice(name=NVIMGCODEC, gpu=open_gpu_jpegs(device)),
}
# What is tried for a wish, in this order; Pillow never fails.
_TRIED: Final[Mapping[str, tuple[str, ...]]] = {
    AUTO: (SIMPLEJPEG, PILLOW),
    PILLOW: (PILLOW,),
    SIMPLEJPEG: (SIMPLEJPEG, PILLOW),
    NVIMGCODEC: (NVIMGCODEC, SIMPLEJPEG, PILLOW),
}
DECODERS: Final = tuple(_TRIED)


def choose_decoder(wish: str, device: torch.device) -> DecoderChoice:
    """Open the decoder that was asked for, or the next best one.

    Args:
        wish: One of DECODERS.
        device: Where the net runs.
    """
    reasons: list[str] = []
    for name in _TRIED[wish]:
        try:
            return replace(_OPENERS[name](device), reasons=tuple(reasons))
        except DecoderError as error:
            reasons.append(f"{name}: {error}")
    raise AssertionError(f"no decoder for {wish!r}")  # pragma: no cover  # Pillow ends every list
