"""One request to one version: checked against its card, queued, run, and put into the protocol's words."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from serve.batcher import Batcher
from serve.core.answer import compose, fault
from serve.core.call import Call
from serve.core.card import ModelCard
from serve.core.lane import BACKGROUND
from serve.core.messages import InferRequest, InferResponse, ModelRef, Prediction
from serve.core.query import Query, interpret
from serve.core.ratelimit import RateLimiter
from serve.core.trace import Trace
from serve.metrics import OUTCOMES, Metrics
from serve.repository import Entry

OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What one request may ask.

    Attributes:
        timeout_s: Deadline of a request whose caller sets none, and the longest that is granted.
        max_images: Most images in one request.
    """

    timeout_s: float = 30.0
    max_images: int = 128


@dataclass(slots=True)
class Progress:
    """How far one request has come; written on the way, read once at its end."""

    started: float
    ref: ModelRef | None = None
    images: int = 0
    prediction: Prediction | None = None
    outcome: str = OK

    def images_by_outcome(self) -> Mapping[str, int]:
        """Images of the request by how each ended: all as the request did, unless it was answered."""
        if self.prediction is None or self.outcome != OK or not any(self.prediction.status):
            return {self.outcome: self.images}
        return Counter(OUTCOMES[fault(status).code] if status else OK for status in self.prediction.status)

    def tell(self, trace: Trace | None) -> None:
        """Tell the request's trace, if it has one, what came of it."""
        if trace is None:
            return
        trace.tell({"attnserve.images": self.images, "attnserve.outcome": self.outcome})
        if self.ref is not None:
            trace.tell({"attnserve.model.name": self.ref.name, "attnserve.model.version": self.ref.version})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version answered, in the protocol's words and as numbers."""

    response: InferResponse
    prediction: Prediction


class Inference:
    """Asks versions; counts nothing but what is in flight."""

    def __init__(
        self,
        batcher: Batcher,
        rates: RateLimiter,
        metrics: Metrics,
        limits: RequestLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tie the parts together; `clock` is the one that deadlines are told by."""
        self._batcher = batcher
        self._rates = rates
        self._metrics = metrics
        self._limits = limits
        self._clock = clock

    async def answer(
        self,
        entry: Entry,
        request: InferRequest,
        call: Call,
        progress: Progress,
        needs: frozenset[str] = frozenset(),
    ) -> Answer:
        """Answer a caller.

        Args:
            entry: The version that answers.
            request: What is asked.
            call: By whom, and until when.
            progress: Follows what happens.
            needs: Outputs of the engine that are needed beside those that the caller wants.

        Raises:
            ServeError: Why there is no answer.
        """
        tried_before = progress.ref is not None
        progress.ref = entry.ref
        card = entry.serving_card()
        query = interpret(request, card, max_images=self._limits.max_images)
        if needs or call.trace is not None:
            query = replace(query, wants=query.wants | needs, trace=call.trace)
        progress.images = query.items.count
        if not tried_before:
            self._rates.take(call.principal, query.items.count, self._clock())
        deadline = self._deadline(query, call, progress)
        with self._metrics.kept(self._metrics.inflight, card.ref.name).track_inprogress():
            progress.prediction = await self._predict(card, query, deadline, call.principal)
        return Answer(compose(query, progress.prediction, card), progress.prediction)

    async def mirror(
        self, entry: Entry, request: InferRequest, deadline: float, trace: Trace | None = None
    ) -> Prediction:
        """Answer nobody: behind all callers, and only for what the model says.

        Raises:
            ServeError: Why there is no answer.
        """
        card = entry.serving_card()
        query = interpret(request, card, max_images=self._limits.max_images)
        query = replace(query, wants=frozenset({"probabilities"}), outputs=(), partial=True, trace=trace)
        return await self._predict(card, query, deadline, BACKGROUND)

    async def _predict(self, card: ModelCard, query: Query, deadline: float, principal: str) -> Prediction:
        begun = self._clock()
        try:
            return await self._batcher.predict(card, query, deadline, principal)
        finally:  # whatever came of it: so long a worker, or the queue, had it
            waited = self._metrics.kept(self._metrics.predict_seconds, card.ref.name)
            waited.inc(self._clock() - begun)

    def _deadline(self, query: Query, call: Call, progress: Progress) -> float:
        latest = progress.started + min(self._limits.timeout_s, query.timeout_s or math.inf)
        return latest if call.deadline is None else min(latest, call.deadline)
