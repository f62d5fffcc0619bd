"""A tiny archive whose answers are known from the picture: its classes are the corners of RGB's cube."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, ChannelScale
from model_store.pack import pack, write_archive
from model_store.script import export
from model_store.signature import Identity, InputRecipe, Resize, Signature
from model_store.sums import sha256, sums_text

COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "red": (255, 0, 0),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
LABELS = tuple(COLOURS)
CORNERS = np.array(list(COLOURS.values())) / 127.5 - 1  # [8,3], -1 or 1
SIDE = 8
MIDDLE = 0.25


class Brightness(ChannelGate):
    """The mean of each channel: what the features are multiplied by, so that they become squares."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3))


def expected_logits(colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """What the net is to say of a picture in one colour, FP64 [8]."""
    logits: NDArray[np.float64] = CORNERS @ ((np.array(colour) / 255) ** 2 - MIDDLE)
    return logits


def write_colours(folder: Path, name: str = "colours", classes: int = 8, *, gated: bool = True) -> Path:
    """Build the archive; classes beyond the eighth are never given."""
    weights = np.concatenate([CORNERS, np.zeros((max(classes - 8, 0), 3))])[:classes]
    head = nn.Linear(3, classes)
    head.weight.data = torch.from_numpy(weights).float()
    head.bias.data = torch.from_numpy(-MIDDLE * weights.sum(axis=1)).float()
    head.bias.data[8:] = -10.0
    first = ChannelScale(Brightness(3)) if gated else nn.Identity()
    net = export(nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), input_size=(SIDE, SIDE))
    resize = Resize(method="stretch", size=(SIDE, SIDE), interpolation="bilinear")
    signature = Signature(
        identity=Identity(
            name=name, version="1", architecture="colours", family="test", attention="test", trained=True
        ),
        recipe=InputRecipe(size=(SIDE, SIDE), resize=resize, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        labels=(*LABELS, *(f"unseen {number}" for number in range(8, classes)))[:classes],
        attention_layout=net.attention_layout,
        weights_sha256=sha256(net.model),
        parity=net.parity,
        card={"licence": "CC0"},
        threads=1,
    )
    return write_archive(folder, pack(signature, net))


def picture(colour: str | tuple[int, int, int], kind: str = "PNG", **options: object) -> bytes:
    """A file that shows nothing but a colour, 12 x 10 pixels."""
    file = io.BytesIO()
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    Image.new("RGB", (12, 10), rgb).save(file, kind, **options)
    return file.getvalue()


def entries(archive: Path) -> dict[str, bytes]:
    """Everything inside, by name."""
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(archive: Path, changes: Mapping[str, bytes | None]) -> None:
    """Replace or remove entries and make every hash right again, as another builder would have."""
    inner = {name: data for name, data in {**entries(archive), **changes}.items() if data is not None}
    del inner["SHA256SUMS"]
    inner["SHA256SUMS"] = sums_text({name: sha256(data) for name, data in inner.items()}).encode()
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in inner.items():
            file.writestr(name, data)
    archive.with_name("SHA256SUMS").unlink(missing_ok=True)
