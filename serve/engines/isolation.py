"""Finding the image that ends the worker: the others are answered, and it does not come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from serve.core.errors import DeadlineError, EngineError, InvalidRequestError
from serve.core.merge import batch_of, images_of, merge
from serve.core.messages import Batch, BatchReply, Items, ModelRef
from serve.core.poison import PoisonBook
from serve.core.trace import in_log
from serve.engines.roster import Holder, Roster

log = structlog.get_logger(__name__)

POISONED = "the worker ended each time it ran this image"
REFUSED = "this image has ended workers and is refused for a while"
_INVALID_ARGUMENT, _DEADLINE_EXCEEDED, _UNAVAILABLE = 3, 4, 14

Run = Callable[[Holder, Batch, float], Awaitable[BatchReply]]


@dataclass(slots=True)
class _Round:
    """What became of the images of one batch: rows, failures, and which of these ended the worker."""

    rows: dict[int, tuple[BatchReply, int]] = field(default_factory=dict)
    failures: dict[int, tuple[int, str]] = field(default_factory=dict)
    deadly: list[int] = field(default_factory=list)


class Isolation:
    """Tries images one by one and remembers those that must not be tried again."""

    def __init__(self, roster: Roster, run: Run, clock: Callable[[], float], refuse_s: float) -> None:
        """Nothing is held against any image.

        Args:
            roster: Whom to ask.
            run: Runs a batch of one image in the room taken at an engine, until a deadline.
            clock: In seconds.
            refuse_s: How long an image that ended workers is refused.
        """
        self._roster = roster
        self._run = run
        self._clock = clock
        self._poison = PoisonBook(refuse_s)

    def harmless(self, ref: ModelRef, batch: Batch) -> list[int] | None:
        """The images that may be run, by index; None, and quickly, when all may."""
        now = self._clock()
        if not self._poison.any(now):
            return None
        images = images_of(batch)
        good = [index for index, image in enumerate(images) if not self._poison.holds(ref, image, now)]
        return None if len(good) == len(images) else good

    async def one_by_one(
        self, ref: ModelRef, batch: Batch, deadline: float, cause: EngineError
    ) -> BatchReply:
        """Answer as many images as can be; those that end the worker even alone are refused from now on.

        An image gets here after `attempts` lost workers, so that what is held against it is one worker more,
        and only where a worker does answer other images.

        Args:
            ref: Which version runs.
            batch: What failed.
            deadline: Clock value after which nothing begins.
            cause: How it failed.

        Raises:
            EngineError: The cause: no image could be answered, and none is to blame.
            InvalidRequestError: All are.
        """
        told = {"model": str(ref), "images": batch.count, "error": cause.message}
        log.warning("trying images one by one", **told, **in_log(*batch.traces))
        images = images_of(batch)
        found = _Round()
        for index, image in enumerate(images):
            await self._try(found, index, ref, batch_of([image], batch), deadline)
        if found.deadly and (found.rows or await self._roster.lives(ref)):
            self._refuse(found, ref, images)
        if found.rows:
            return merge(found.rows, found.failures)
        if all(code == _INVALID_ARGUMENT for code, _ in found.failures.values()):
            raise InvalidRequestError(POISONED)
        raise cause

    async def _try(self, found: _Round, index: int, ref: ModelRef, image: Batch, deadline: float) -> None:
        try:
            found.rows[index] = await self._alone(ref, image, deadline), 0
        except DeadlineError as error:
            found.failures[index] = _DEADLINE_EXCEEDED, error.message
        except EngineError as error:
            found.failures[index] = _UNAVAILABLE, error.message
            if error.reason == "lost":
                found.deadly.append(index)

    async def _alone(self, ref: ModelRef, image: Batch, deadline: float) -> BatchReply:
        if self._clock() >= deadline:
            raise DeadlineError("the deadline passed before the image could be run")
        holder = self._roster.choose(ref)
        if holder is None:
            raise EngineError("no engine is ready", reason="unreachable")
        self._roster.enter(holder)
        return await self._run(holder, image, deadline)

    def _refuse(self, found: _Round, ref: ModelRef, images: Sequence[Items]) -> None:
        for index in found.deadly:
            self._poison.add(ref, images[index], self._clock())
            found.failures[index] = _INVALID_ARGUMENT, POISONED


def with_refused(reply: BatchReply, good: Sequence[int], count: int) -> BatchReply:
    """The reply for `count` images out of that for the `good` ones: the others are refused."""
    bad = set(range(count)) - set(good)
    rows = {index: (reply, row) for row, index in enumerate(good)}
    return merge(rows, dict.fromkeys(bad, (_INVALID_ARGUMENT, REFUSED)))
