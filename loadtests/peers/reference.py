"""Images with a class that nobody can mistake, and that class: by the fp32 module and plain Pillow."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image

from loadtests.bench.photos import photos
from loadtests.peers.doors import Images
from loadtests.peers.nets import PeersNet
from loadtests.peers.servers.peer_net import PeerNet

PHOTO_SIZE: Final = (500, 375)
MOST_IMAGES: Final = 32
_CANDIDATES: Final = 96
# Between the best class and the next, as a share of the largest |logit|: several times what bfloat16 and
# another decoder move.
_LEAST_MARGIN: Final = 0.03


class UnclearError(Exception):
    """No image is classified clearly enough to tell a right answer from a wrong one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is sent, and the right answers."""

    images: Images
    classes: tuple[int, ...]


def reference(portable: PeersNet, *, tensor: bool) -> Reference:
    """Images for a net, and their classes by its portable form.

    Raises:
        UnclearError: There is none.
    """
    net = PeerNet(portable.folder, tuned=False)
    size: list[int] = json.loads((portable.folder / "net.json").read_text())["size"]
    blobs = photos(_CANDIDATES, PHOTO_SIZE)
    if tensor:
        blobs = tuple(_pixels(blob, (size[1], size[0])) for blob in blobs)
    kept: list[tuple[bytes, int]] = []
    for blob in blobs:
        clear, best = _judged(net, blob)
        if clear and len(kept) < MOST_IMAGES:
            kept.append((blob, best))
    if not kept:
        raise UnclearError(f"{portable.model}: no image has a class that stands out from the next")
    return Reference(
        images=Images(blobs=tuple(blob for blob, _ in kept), shape=(*size, 3) if tensor else ()),
        classes=tuple(best for _, best in kept),
    )


def _judged(net: PeerNet, blob: bytes) -> tuple[bool, int]:
    """Whether the best class stands out, and which it is."""
    logits = net.logits(net.decode([blob]))[0]
    (first, second), places = torch.topk(logits, 2)
    return bool(first - second >= _LEAST_MARGIN * logits.abs().max()), int(places[0])


def _pixels(blob: bytes, size: tuple[int, int]) -> bytes:
    with Image.open(io.BytesIO(blob)) as image:
        return np.asarray(image.convert("RGB").resize(size)).tobytes()
