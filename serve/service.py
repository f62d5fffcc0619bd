"""Service: the only place where the steps of a request meet.

resolve the name -> ask the model, or the arms of the experiment, that is called so -> count it, once,
whatever happened. Both doors (gRPC and REST) call it; it knows neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from serve.audit import Act, AuditLog
from serve.batcher import Batcher
from serve.core.call import Call
from serve.core.catalog import (
    IndexEntry,
    ModelConfig,
    ModelMetadata,
    ModelState,
    ModelUsage,
    ServerMetadata,
)
from serve.core.describe import EXTENSIONS, model_config, model_metadata
from serve.core.errors import (
    CallerGoneError,
    DrainingError,
    InternalError,
    ServeError,
)
from serve.core.messages import InferRequest, InferResponse
from serve.core.trace import exemplar
from serve.experiments.directory import Directory
from serve.experiments.trials import Trials
from serve.inference import OK, Inference, Progress
from serve.metrics import OUTCOMES, UNKNOWN, Metrics
from serve.model_acts import Parameters, act_on_model, check_parameters
from serve.model_cards import ModelCards
from serve.repository import Entry, Repository
from serve.usage import Served, UsageBook


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
    """What the service tells about itself.

    Attributes:
        max_queue_delay_s: For the model configuration only.
        version: Of this server.
    """

    version: str
    max_queue_delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The objects that the service ties together; `clock` is the one that deadlines are told by.

    Without `trials` there are no experiments.
    """

    repository: Repository
    directory: Directory
    inference: Inference
    trials: Trials | None
    batcher: Batcher
    loader: Loader
    metrics: Metrics
    usage: UsageBook
    audit: AuditLog
    clock: Callable[[], float] = time.monotonic


class Service:
    """Everything that a client can ask of the gateway.

    Attributes:
        draining: Whether new requests are refused.
        cards: What people are shown of the models.
    """

    def __init__(self, parts: Parts, options: ServiceOptions) -> None:
        """Tie the parts together; nothing runs yet."""
        self._parts = parts
        self._options = options
        self._inflight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.cards = ModelCards(parts.repository, parts.directory, parts.usage)

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        """Answer one inference request.

        Raises:
            ServeError: Why there is no answer.
        """
        progress = Progress(started=self._parts.clock())
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

    async def _infer(self, request: InferRequest, call: Call, progress: Progress) -> InferResponse:
        found = self._parts.directory.find(request.model, request.version)
        if self.draining:
            progress.ref = self._parts.directory.model(request.model, request.version).ref
            raise DrainingError("the server is shutting down", retry_after_s=1.0)
        if isinstance(found, Entry):
            return (await self._parts.inference.answer(found, request, call, progress)).response
        assert self._parts.trials, "who finds experiments can also run them"  # noqa: S101  our own invariant
        return await self._parts.trials.infer(found, request, call, progress)

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

    def any_model_ready(self) -> bool:
        """Whether one model at least can answer: enough to get traffic, where others share the work."""
        return not self.draining and any(entry.ready for entry in self._parts.repository.entries())

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether that version (or any, without one) can answer.

        Raises:
            NotFoundError: It is not known.
        """
        return self._parts.directory.model(name, version).ready and not self.draining

    def server_metadata(self) -> ServerMetadata:
        """Name, version and extensions of this server."""
        return ServerMetadata(name="attnserve", version=self._options.version, extensions=EXTENSIONS)

    def model_metadata(self, name: str, version: str = "") -> ModelMetadata:
        """What a model takes and gives.

        Raises:
            NotFoundError: It is not known.
            UnavailableError: It has never been ready.
        """
        card = self._parts.directory.model(name, version).known_card()
        versions = tuple(entry.ref.version for entry in self._parts.repository.entries(card.ref.name))
        return replace(model_metadata(card, versions), name=name)

    def model_config(self, name: str, version: str = "") -> ModelConfig:
        """The model_configuration extension's view of a model; raises as `model_metadata`."""
        card = self._parts.directory.model(name, version).known_card()
        return replace(model_config(card, max_queue_delay_s=self._options.max_queue_delay_s), name=name)

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
        """A line for every version that is known, and for every alias and experiment that can be called."""
        directory = self._parts.directory
        standing = (directory.line(name) for name in directory.names())
        more = tuple(line for line in standing if line.state is ModelState.READY or not ready_only)
        return (*self._parts.repository.index(ready_only=ready_only), *more)

    def denied(self, act: Act, error: ServeError) -> None:
        """Take down an administrative act that the edge refused: no token, no role, unreadable."""
        self._parts.audit.denied(act, error)

    async def load_model(self, name: str, parameters: Parameters, call: Call) -> None:
        """Load every archive of that name in the model store.

        Raises:
            ServeError: It cannot be loaded, or a parameter is not supported; the message says why.
        """
        with self._parts.audit.recording(act_on_model("load", name, parameters, call)):
            check_parameters(parameters)
            self._parts.directory.check_model_name(name)
            await self._parts.loader.load(name)

    async def unload_model(self, name: str, parameters: Parameters, call: Call) -> None:
        """Let every version of that name go, once its requests have been answered; raises as `load_model`."""
        with self._parts.audit.recording(act_on_model("unload", name, parameters, call)):
            check_parameters(parameters, allowed=("unload_dependents",))
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

    def _enter(self) -> None:
        self._inflight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._inflight -= 1
        if not self._inflight:
            self._idle.set()

    def _account(self, call: Call, progress: Progress) -> None:
        metrics, ref = self._parts.metrics, progress.ref
        duration = self._parts.clock() - progress.started
        served = (ref.name, ref.version) if ref else (UNKNOWN, "")
        metrics.kept(metrics.requests, *served, call.protocol, progress.outcome).inc()
        metrics.kept(metrics.request_duration, *served, call.protocol).observe(duration, exemplar(call.trace))
        progress.tell(call.trace)
        if ref is None:
            return
        images = progress.images_by_outcome()
        for outcome, count in images.items():
            metrics.kept(metrics.images, *served, outcome).inc(count)
        if progress.outcome != OK or progress.prediction is None:
            self._parts.usage.failed(ref, duration)
            return
        self._parts.usage.served(
            ref,
            Served(
                images=images.get(OK, 0),
                duration_s=duration,
                queue_s=progress.prediction.queue_s,
                timings=progress.prediction.timings,
                wall_ms=time.time_ns() // 1_000_000,
            ),
        )


def _shutting_down() -> ServeError:
    return DrainingError("the server shut down before the request could be answered", retry_after_s=1.0)
