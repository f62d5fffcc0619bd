"""Images that ended a worker by themselves: refused for a while, so that they do it once and not for ever."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from serve.core.messages import Items

_MOST = 1024


class PoisonBook:
    """Digests of such images and until when they are refused; bounded, the oldest go first."""

    def __init__(self, refuse_s: float) -> None:
        """Start empty; an image is refused for `refuse_s` seconds."""
        self._refuse_s = refuse_s
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, image: Items, now: float) -> None:
        """Note a single image."""
        digest = _digest(image)
        self._until[digest] = now + self._refuse_s
        self._until.move_to_end(digest)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def holds(self, image: Items, now: float) -> bool:
        """Whether a single image is refused; costs nothing while there is none."""
        return bool(self._until) and self._until.get(_digest(image), now) > now

    def __bool__(self) -> bool:
        """Whether any image is noted."""
        return bool(self._until)


def _digest(image: Items) -> bytes:
    digest = hashlib.sha256(f"{image.kind.value} {image.shape} ".encode())
    for blob in image.blobs:
        digest.update(blob)
    return digest.digest()
