"""JPEG files decoded and resized on the GPU, with NVIDIA's nvImageCodec where it is installed.

Written from nvImageCodec's public Python interface (version 0.9, `nvidia.nvimgcodec`), and tested with a
stand-in for it only: no figure of this project comes from it. It is used where an archive's configuration
asks for it by name (`decoder: nvimgcodec`), and then for plain JPEG files only; what it cannot read goes to
the CPU's decoder, which also words the refusals. It decodes at full size, without libjpeg's scaling, and its
levels are close to libjpeg-turbo's, not equal; a damaged file that libjpeg-turbo refuses it may read.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from .attn_jpeg import DecoderError
from .attn_preprocess import Recipe, fit_tensor
from .attn_wire import Buffer

MODULE: Final = "nvidia.nvimgcodec"
# The chroma that is stored at half the resolution is interpolated, as libjpeg does unless told otherwise.
_OPTIONS: Final = ":fancy_upsampling=1"

_log = logging.getLogger(__name__)


class GpuJpegs:
    """Decodes and resizes JPEG files on one GPU; for one thread."""

    def __init__(self, codec: Any, device: torch.device) -> None:  # noqa: ANN401  nvImageCodec may be missing
        """Take the module `nvidia.nvimgcodec`, and the device that its pictures are to lie on."""
        self._device = device
        self._decoder = codec.Decoder(device_id=device.index or 0, options=_OPTIONS)
        self._params = codec.DecodeParams(apply_exif_orientation=False, allow_any_depth=False)

    def read(self, blobs: Sequence[Buffer], recipe: Recipe) -> list[Tensor | None]:
        """Decode and resize.

        Args:
            blobs: Plain JPEG files: RGB and upright.
            recipe: How to resize.

        Returns:
            For each uint8 [H,W,3] of recipe.size on the device; None where it could not be read.
        """
        try:
            images = self._decoder.decode(
                [bytes(blob) for blob in blobs], params=self._params, cuda_stream=self._stream()
            )
            return [None if image is None else fit_tensor(from_dlpack(image), recipe) for image in images]
        except Exception:  # noqa: BLE001  whatever it stumbles over, the CPU's decoder reads next, and judges
            _log.exception("nvImageCodec failed on %d files; they are decoded on the CPU", len(blobs))
            return [None] * len(blobs)

    def _stream(self) -> int:
        """The stream that torch computes on, which then waits for the pictures."""
        on_cuda = self._device.type == "cuda"
        return torch.cuda.current_stream(self._device).cuda_stream if on_cuda else 0


def open_gpu_jpegs(device: torch.device) -> GpuJpegs:
    """Make a reader.

    Raises:
        DecoderError: The net does not run on a GPU, or nvImageCodec is not installed or does not start.
    """
    if device.type != "cuda":
        raise DecoderError(f"decodes on a GPU, and this worker runs on {device}")
    try:
        return GpuJpegs(importlib.import_module(MODULE), device)
    except ImportError as error:
        raise DecoderError(f"cannot be imported: {error}") from error
    except Exception as error:
        raise DecoderError(f"does not start: {error}") from error
