"""Notices that the model store has changed: by looking, since that works on every kind of file system.

A file that has changed since the last look may still be being written: it is left alone until two looks
find it the same. What is in it is then decided by SHA256SUMS alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol

import structlog

from serve.archive import SUMS
from serve.core.errors import UnavailableError
from serve.metrics import Metrics
from serve.store import Stamp, look

log = structlog.get_logger(__name__)

MODEL_STORE = "model_store"


class Follower(Protocol):
    """What makes the gateway serve what lies in the model store."""

    async def follow(self, unsettled: AbstractSet[str]) -> None:
        """Take over what has changed, but for the files of these names, which may still be changing.

        Raises:
            UnavailableError: Not now; the watch will call again.
        """
        ...

    @property
    def sound(self) -> bool:
        """Whether everything that is wanted and there could be served when it was last tried."""
        ...


class StoreWatch:
    """Looks at a model store again and again."""

    def __init__(self, folder: Path, interval_s: float, follower: Follower, metrics: Metrics) -> None:
        """Nothing is looked at before `run`.

        Args:
            folder: The model store.
            interval_s: Seconds between two looks.
            follower: Told of every change.
            metrics: Where it shows whether the store, as it is now, could be taken over.
        """
        self._folder = folder
        self._interval_s = interval_s
        self._follower = follower
        self._success = metrics.config_reload_success.labels(MODEL_STORE)
        self._success.set(1)
        self._seen: Mapping[str, Stamp] = {}
        self._followed: object = None
        self._lost = False

    async def run(self) -> None:
        """Look, until cancelled; whatever a look meets, there is another one."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look()
            except Exception:
                self._success.set(0)
                log.exception("the model store is not followed")

    async def look(self) -> None:
        """Look once; an absent folder, or one without SHA256SUMS, changes nothing of what is served."""
        try:
            seen = await asyncio.to_thread(look, self._folder)
        except OSError as error:
            self._lose(error)
            return
        if self._lost:
            log.info("the model store is back", store=str(self._folder))
            self._lost = False
        last, self._seen = self._seen, seen
        unsettled = frozenset(name for name in seen.keys() | last.keys() if seen.get(name) != last.get(name))
        settled = {name: stamp for name, stamp in seen.items() if name not in unsettled}
        if SUMS not in unsettled and (settled, unsettled) != self._followed:
            try:
                await self._follower.follow(unsettled)
            except UnavailableError:
                return
            self._followed = (settled, unsettled)
        self._success.set(self._follower.sound)

    def _lose(self, error: OSError) -> None:
        if not self._lost:
            why = error.strerror or type(error).__name__
            log.error("the model store is gone: what is served stays", store=str(self._folder), error=why)
        self._lost = True
        # When it is back, it may still be being filled.
        self._seen = {}
        self._success.set(0)
