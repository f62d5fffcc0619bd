"""Images that ended a worker by themselves: refused for a while, so that they do it once and not for ever."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from serve.core.messages import Items, ModelRef

_MOST = 1024


class PoisonBook:
    """Digests of such images by version, and until when they are refused; bounded, the oldest go first."""

    def __init__(self, refuse_s: float) -> None:
        """Start empty; an image is refused for `refuse_s` seconds."""
        self._refuse_s = refuse_s
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, ref: ModelRef, image: Items, now: float) -> None:
        """Note a single image that ended workers of a version."""
        digest = _digest(ref, image)
        self._until[digest] = now + self._refuse_s
        self._until.move_to_end(digest)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def holds(self, ref: ModelRef, image: Items, now: float) -> bool:
        """Whether a single image is refused."""
        return self.any(now) and self._until.get(_digest(ref, image), now) > now

    def any(self, now: float) -> bool:
        """Whether any image is refused; those whose time is over are forgotten."""
        # The order of entry is the order of the ends, since all are refused for the same time.
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return bool(self._until)


def _digest(ref: ModelRef, image: Items) -> bytes:
    digest = hashlib.sha256(f"{ref} {image.kind.value} {image.shape} ".encode())
    for blob in image.blobs:
        digest.update(blob)
    return digest.digest()
