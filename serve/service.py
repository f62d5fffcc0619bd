"""Service: the only place where the steps of a request meet.

resolve the name -> check against the card -> wait and run in the batcher -> compose the answer ->
count it, once, whatever happened. Both doors (gRPC and REST) call it; it knows neither.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from serve.audit import Act, AuditLog
from serve.batcher import Batcher
from serve.core.answer import compose, fault
from serve.core.call import Call
from serve.core.catalog import IndexEntry, ModelConfig, ModelMetadata, ModelUsage, ServerMetadata
from serve.core.describe import EXTENSIONS, model_config, model_metadata
from serve.core.errors import CallerGoneError, InternalError, ServeError, UnavailableError, UnsupportedError
from serve.core.messages import InferRequest, InferResponse, ModelRef, Parameter, Prediction
from serve.core.query import Query, interpret
from serve.core.ratelimit import RateLimiter
from serve.metrics import OUTCOMES, UNKNOWN, Metrics
from serve.repository import Repository
from serve.usage import Served, UsageBook

OK = "ok"


class Loader(Protocol):
    """What can bring models in and let them go while the gateway runs."""

    async def load(self, name: str) -> None:
        """Load every archive of that name."""
        ...

    async def unload(self, name: str) -> None:
        """Let every version of that name go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """Limits of a request.

    Attributes:
        request_timeout_s: Deadline of a request whose caller sets none, and the longest that is granted.
        max_request_images: Most images in one request.
        max_queue_delay_s: For the model configuration only.
        version: Of this server.
    """

    version: str
    request_timeout_s: float = 30.0
    max_request_images: int = 128
    max_queue_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects that the service ties together; `clock` is the one that deadlines are told by."""

    repository: Repository
    batcher: Batcher
    loader: Loader
    metrics: Metrics
    usage: UsageBook
    audit: AuditLog
    rates: RateLimiter
    clock: Callable[[], float] = time.monotonic


class Service:
    """Everything that a client can ask of the gateway."""

    def __init__(self, parts: Parts, options: ServiceOptions) -> None:
        """Tie the parts together; nothing runs yet."""
        self._parts = parts
        self._options = options
        self._inflight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        """Answer one inference request.

        Raises:
            ServeError: Why there is no answer.
        """
        progress = _Progress(started=self._parts.clock())
        self._enter()
        try:
            return await self._infer(request, call, progress)
        except ServeError as error:
            progress.outcome = OUTCOMES[error.code]
            raise
        except asyncio.CancelledError:
            progress.outcome = OUTCOMES[CallerGoneError.code]
            raise
        except BaseException:
            progress.outcome = OUTCOMES[InternalError.code]
            raise
        finally:
            self._leave()
            self._account(call, progress)

    async def _infer(self, request: InferRequest, call: Call, progress: _Progress) -> InferResponse:
        entry = self._parts.repository.find(request.model, request.version)
        progress.ref = entry.ref
        if self.draining:
            raise UnavailableError("the server is shutting down", retry_after_s=1.0)
        card = entry.serving_card()
        query = interpret(request, card, max_images=self._options.max_request_images)
        progress.images = query.items.count
        self._parts.rates.take(call.principal, query.items.count, self._parts.clock())
        deadline = self._deadline(query, call, progress)
        with self._parts.metrics.inflight.labels(card.ref.name).track_inprogress():
            progress.prediction = await self._parts.batcher.predict(card, query, deadline, call.principal)
        return compose(query, progress.prediction, card)

    def refused(self, protocol: str, error: ServeError) -> None:
        """Count an inference request that the edge refused before it could be asked of `infer`.

        Args:
            protocol: "grpc" or "http".
            error: Why: a bad token, a message that cannot be read, a body that is too large.
        """
        self._parts.metrics.requests.labels(UNKNOWN, "", protocol, OUTCOMES[error.code]).inc()

    def live(self) -> bool:
        """Whether the process answers at all."""
        return True

    def ready(self) -> bool:
        """Whether every pinned model can answer, and the server is not shutting down."""
        return not self.draining and self._parts.repository.all_ready()

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether that version (or any, without one) can answer.

        Raises:
            NotFoundError: It is not known.
        """
        return self._parts.repository.find(name, version).ready and not self.draining

    def server_metadata(self) -> ServerMetadata:
        """Name, version and extensions of this server."""
        return ServerMetadata(name="attnserve", version=self._options.version, extensions=EXTENSIONS)

    def model_metadata(self, name: str, version: str = "") -> ModelMetadata:
        """What a model takes and gives.

        Raises:
            NotFoundError: It is not known.
            UnavailableError: It has never been ready.
        """
        card = self._parts.repository.find(name, version).known_card()
        versions = tuple(entry.ref.version for entry in self._parts.repository.entries(name))
        return model_metadata(card, versions)

    def model_config(self, name: str, version: str = "") -> ModelConfig:
        """The model_configuration extension's view of a model; raises as `model_metadata`."""
        card = self._parts.repository.find(name, version).known_card()
        return model_config(card, max_queue_delay_s=self._options.max_queue_delay_s)

    def model_statistics(self, name: str = "", version: str = "") -> tuple[ModelUsage, ...]:
        """What the versions have done since the start: all, those of a model, or one.

        Raises:
            NotFoundError: The model or version is not known.
        """
        repository = self._parts.repository
        found = (repository.find(name, version),) if name or version else ()
        entries = found if version else repository.entries(name)
        return tuple(self._parts.usage.read(entry.ref) for entry in entries)

    def repository_index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """A line for every version that is known."""
        return self._parts.repository.index(ready_only=ready_only)

    def denied(self, act: Act, error: ServeError) -> None:
        """Take down an administrative act that the edge refused: no token, no role, unreadable."""
        self._parts.audit.denied(act, error)

    async def load_model(self, name: str, parameters: Mapping[str, Parameter | bytes], call: Call) -> None:
        """Load every archive of that name in the model store.

        Raises:
            ServeError: It cannot be loaded, or a parameter is not supported; the message says why.
        """
        with self._parts.audit.recording(_act("load", name, parameters, call)):
            _refuse_overrides(parameters)
            await self._parts.loader.load(name)

    async def unload_model(self, name: str, parameters: Mapping[str, Parameter | bytes], call: Call) -> None:
        """Let every version of that name go, once its requests have been answered; raises as `load_model`."""
        with self._parts.audit.recording(_act("unload", name, parameters, call)):
            _refuse_overrides(parameters, allowed=("unload_dependents",))
            await self._parts.loader.unload(name)

    async def drain(self, timeout_s: float) -> None:
        """Take no new requests, wait for those in flight, and end what is left as unavailable.

        Returns when every request has had its answer.
        """
        self.draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            self._parts.batcher.fail_all(_shutting_down)
            await self._idle.wait()

    @property
    def inflight(self) -> int:
        """Requests that wait for their answer."""
        return self._inflight

    def _deadline(self, query: Query, call: Call, progress: _Progress) -> float:
        latest = progress.started + min(self._options.request_timeout_s, query.timeout_s or math.inf)
        return latest if call.deadline is None else min(latest, call.deadline)

    def _enter(self) -> None:
        self._inflight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._inflight -= 1
        if not self._inflight:
            self._idle.set()

    def _account(self, call: Call, progress: _Progress) -> None:
        metrics, ref = self._parts.metrics, progress.ref
        duration = self._parts.clock() - progress.started
        served = (ref.name, ref.version) if ref else (UNKNOWN, "")
        metrics.requests.labels(*served, call.protocol, progress.outcome).inc()
        metrics.request_duration.labels(*served, call.protocol).observe(duration)
        if ref is None:
            return
        images = progress.images_by_outcome()
        for outcome, count in images.items():
            metrics.images.labels(*served, outcome).inc(count)
        if progress.outcome != OK or progress.prediction is None:
            self._parts.usage.failed(ref, duration)
            return
        self._parts.usage.served(
            ref,
            Served(
                images=images[OK],
                duration_s=duration,
                queue_s=progress.prediction.queue_s,
                timings=progress.prediction.timings,
                wall_ms=time.time_ns() // 1_000_000,
            ),
        )


@dataclass(slots=True)
class _Progress:
    """How far one request has come; written on the way, read once at its end."""

    started: float
    ref: ModelRef | None = None
    images: int = 0
    prediction: Prediction | None = None
    outcome: str = OK

    def images_by_outcome(self) -> Counter[str]:
        """Images of the request by how each ended: all as the request did, unless it was answered."""
        if self.prediction is None or self.outcome != OK:
            return Counter({self.outcome: self.images})
        return Counter(OUTCOMES[fault(status).code] if status else OK for status in self.prediction.status)


def _shutting_down() -> ServeError:
    return UnavailableError("the server shut down before the request could be answered", retry_after_s=1.0)


def _act(name: str, model: str, parameters: Mapping[str, object], call: Call) -> Act:
    return Act(
        name=name,
        target=model,
        principal=call.principal,
        protocol=call.protocol,
        parameters=tuple(sorted(parameters)),
    )


def _refuse_overrides(parameters: Mapping[str, Parameter | bytes], allowed: tuple[str, ...] = ()) -> None:
    # A client's own configuration or files would be a client's own code in the worker.
    for name in parameters:
        if name not in allowed:
            raise UnsupportedError(
                f"parameter {name!r} is not supported: models come from the server's model store only"
            )
