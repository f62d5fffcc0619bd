"""What every peer runs: the same preprocessing, the same module file, the same answer.

A plain file, copied or imported beside a server's own program in the peer's environment: it needs torch,
numpy and Pillow, and nothing of this project.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_JPEG: Final = b"\xff\xd8\xff"


class PeerNet:
    """A module file with its preprocessing.

    The folder holds `model.pt` and `net.json`: size and resize as (H, W), interpolation, mean and std on the
    scale 0..1, dtype and channels_last of the module's input, and the number of threads.
    """

    def __init__(self, folder: Path, *, tuned: bool) -> None:
        """Load it.

        Args:
            folder: With the two files.
            tuned: Resize only what the centre crop keeps, and decode a batch in one thread for each core;
                else as most tutorials do: resize all of it, then crop, one after the other.
        """
        self._spec: dict[str, Any] = json.loads((folder / "net.json").read_text())
        torch.set_num_threads(self._spec["threads"])
        self._module = torch.jit.load(str(folder / "model.pt"), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        self._fit = _cut_out if tuned else _resized_then_cut
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1) if tuned else None
        self._mean = torch.tensor(self._spec["mean"]).view(3, 1, 1)
        self._std = torch.tensor(self._spec["std"]).view(3, 1, 1)

    def classify(self, blobs: list[bytes]) -> list[dict[str, float]]:
        """Answer for each of N requests: a JPEG, or the raw uint8 pixels [H,W,3] of the net's own size."""
        return self.infer(self.decode(blobs))

    def decode(self, blobs: list[bytes]) -> Tensor:
        """The module's input for N requests: [N,3,H,W]."""
        if self._pool is None or len(blobs) == 1:
            return torch.stack([self.decode_one(blob) for blob in blobs])
        return torch.stack(list(self._pool.map(self.decode_one, blobs)))

    def decode_one(self, blob: bytes) -> Tensor:
        """One request's input: float32 [3,H,W]."""
        height, width = self._spec["size"]
        if blob[:3] == _JPEG:
            with Image.open(io.BytesIO(blob)) as image:
                pixels = np.array(self._fit(image.convert("RGB"), self._spec))
        else:
            pixels = np.frombuffer(blob, np.uint8).reshape(height, width, 3).copy()
        channels = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return channels.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)

    @torch.inference_mode()
    def logits(self, batch: Tensor) -> Tensor:
        """Of an input [N,3,H,W]: float32 [N,K]."""
        layout = torch.channels_last if self._spec["channels_last"] else torch.contiguous_format
        given = batch.to(getattr(torch, self._spec["dtype"]), memory_format=layout)
        return self._module(given).to(torch.float32)

    def infer(self, batch: Tensor) -> list[dict[str, float]]:
        """The most probable class of each row of [N,3,H,W], and its probability."""
        scores, classes = self.logits(batch).softmax(1).max(1)
        return [
            {"class": int(best), "score": float(score)}
            for best, score in zip(classes.tolist(), scores.tolist(), strict=True)
        ]


def _resized_then_cut(image: Image.Image, spec: dict[str, Any]) -> Image.Image:
    (width, height), left, top = _placed(image, spec)
    whole = image.resize((width, height), _FILTERS[spec["interpolation"]])
    return whole.crop((left, top, left + spec["size"][1], top + spec["size"][0]))


def _cut_out(image: Image.Image, spec: dict[str, Any]) -> Image.Image:
    (width, height), left, top = _placed(image, spec)
    x, y = image.width / width, image.height / height
    high, wide = spec["size"]
    box = (left * x, top * y, min((left + wide) * x, image.width), min((top + high) * y, image.height))
    return image.resize((wide, high), _FILTERS[spec["interpolation"]], box=box)


def _placed(image: Image.Image, spec: dict[str, Any]) -> tuple[tuple[int, int], int, int]:
    """(W, H) after the resize of the shorter side, and where the centre crop begins."""
    shorter, target = min(image.size), spec["resize"][0]
    width, height = int(target * image.width / shorter), int(target * image.height / shorter)
    return (width, height), round((width - spec["size"][1]) / 2), round((height - spec["size"][0]) / 2)
