"""A service without models: the name of the model asked for decides what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
from prometheus_client import CollectorRegistry

from serve.audit import Act
from serve.core.call import Call
from serve.core.catalog import (
    BatchUsage,
    IndexEntry,
    ModelConfig,
    ModelMetadata,
    ModelState,
    ModelUsage,
    ServerMetadata,
    Span,
    TensorSpec,
)
from serve.core.errors import (
    ConflictError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
    ServeError,
    UnavailableError,
    UnsupportedError,
)
from serve.core.messages import InferRequest, InferResponse, Parameter, Tensor
from serve.experiments.directory import Directory
from serve.metrics import Metrics
from serve.model_cards import ModelCards
from serve.repository import Repository
from serve.usage import UsageBook

VERSION = "3"
STARTED = 1_800_000_000.0
INPUTS = (
    TensorSpec(name="image", datatype="BYTES", shape=(-1, 1)),
    TensorSpec(name="input", datatype="FP32", shape=(-1, 3, 2, 2), optional=True),
)
OUTPUTS = (
    TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),
    TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
)
FAILURES: Mapping[str, Exception] = {
    "overloaded": OverloadedError("the queue is full", retry_after_s=1.2),
    "late": DeadlineError("the time ran out"),
    "loading": UnavailableError("model 'loading' is not ready"),
    "broken": ZeroDivisionError("a secret path: /etc/secret"),
}


class FakeService:
    """Answers for the model `digits`, and fails as a model's name says."""

    def __init__(self) -> None:
        self.is_ready = True
        self.draining = False
        self.models = {"digits": ModelState.READY}
        self.requests: list[InferRequest] = []
        self.calls: list[Call] = []
        self.refusals: list[tuple[str, ServeError]] = []
        self.denials: list[tuple[Act, ServeError]] = []
        self.cancelled = asyncio.Event()
        self.repository = Repository(Metrics(CollectorRegistry()))
        self.usage = UsageBook()
        self.cards = ModelCards(self.repository, Directory(self.repository), self.usage, lambda: STARTED)

    def refused(self, protocol: str, error: ServeError) -> None:
        """Remember what never reached `infer`."""
        self.refusals.append((protocol, error))

    def denied(self, act: Act, error: ServeError) -> None:
        """Remember who was not let in to operate."""
        self.denials.append((act, error))

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        """Classify every image as "sieben", or do what the model's name says."""
        self.requests.append(request)
        self.calls.append(call)
        if request.model == "slow":
            await self._wait_for_ever()
        self._check(request.model)
        count = request.inputs[0].shape[0]
        outputs = {tensor.name: tensor for tensor in _classified(count)}
        names = [output.name for output in request.outputs] or list(outputs)
        return InferResponse(
            model=request.model,
            version=VERSION,
            request_id=request.request_id,
            outputs=tuple(outputs[name] for name in names),
            parameters={"untrained": False, "count": count},
        )

    def live(self) -> bool:
        """Always."""
        return True

    def ready(self) -> bool:
        """As the test set it."""
        return self.is_ready

    def any_model_ready(self) -> bool:
        """Whether one of them is in the state READY."""
        return any(state is ModelState.READY for state in self.models.values())

    def model_ready(self, name: str, _version: str = "") -> bool:
        """Whether the model is in the state READY."""
        self._check(name)
        return self.models[name] is ModelState.READY

    def server_metadata(self) -> ServerMetadata:
        """A server that is not the real one."""
        return ServerMetadata(name="fake", version="1.2.3", extensions=("statistics", "binary_tensor_data"))

    def model_metadata(self, name: str, _version: str = "") -> ModelMetadata:
        """The same for every model."""
        self._check(name)
        return ModelMetadata(
            name=name,
            versions=("1", VERSION),
            platform="pytorch_torchscript",
            inputs=INPUTS,
            outputs=OUTPUTS,
            properties={"layout": "none"},
        )

    def model_config(self, name: str, version: str = "") -> ModelConfig:
        """The same for every model."""
        self._check(name)
        return ModelConfig(
            name=name,
            version=version or VERSION,
            platform="pytorch_torchscript",
            backend="torchserve",
            max_batch_size=8,
            inputs=INPUTS,
            outputs=OUTPUTS,
            preferred_batch_sizes=(4, 8),
            max_queue_delay_us=500,
            parameters={"recipe": "portable"},
        )

    def model_statistics(self, name: str = "", _version: str = "") -> tuple[ModelUsage, ...]:
        """One version that has run two batches."""
        if name:
            self._check(name)
        batch = BatchUsage(batch_size=4, compute_infer=Span(count=2, ns=7_000))
        usage = ModelUsage(
            name="digits",
            version=VERSION,
            last_inference_ms=1_700_000_000_000,
            inference_count=8,
            execution_count=2,
            success=Span(count=3, ns=9_000),
            batches=(batch,),
        )
        return (usage,)

    def repository_index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """One line a model."""
        return tuple(
            IndexEntry(name=name, version=VERSION, state=state)
            for name, state in self.models.items()
            if state is ModelState.READY or not ready_only
        )

    async def load_model(self, name: str, parameters: Mapping[str, Parameter | bytes], call: Call) -> None:
        """Make the model ready."""
        self.calls.append(call)
        if "config" in parameters:
            raise UnsupportedError("parameter 'config' is not offered")
        self.models[name] = ModelState.READY

    async def unload_model(self, name: str, parameters: Mapping[str, Parameter | bytes], call: Call) -> None:
        """Make it unavailable."""
        self.calls.append(call)
        if name not in self.models:
            raise ConflictError(f"model {name!r} is not loaded, parameters {sorted(parameters)}")
        self.models[name] = ModelState.UNAVAILABLE

    def _check(self, name: str) -> None:
        if name in FAILURES:
            raise FAILURES[name]
        if name not in self.models:
            raise NotFoundError(f"model {name!r} is not found")

    async def _wait_for_ever(self) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def _classified(count: int) -> tuple[Tensor, Tensor]:
    rows = np.tile(np.array([0.25, 0.75], "<f4"), (count, 1))
    return (
        Tensor(name="probabilities", datatype="FP32", shape=(count, 2), data=rows.tobytes()),
        Tensor(name="label", datatype="BYTES", shape=(count,), data=(b"sieben",) * count),
    )
