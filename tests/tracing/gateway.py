"""A whole gateway over the fake engine in this process, which sends its traces to a collector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx

from serve.app import Gateway
from serve.core.messages import ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.loading import House
from serve.metrics import Metrics
from serve.pb import open_inference_pb2 as pb
from serve.sections import EngineConfig, ExperimentsConfig, TracingConfig
from serve.settings import Config
from serve.watching import RemoteOnly
from tests.service.house import CARD, REF

PATH = f"/v2/models/{REF.name}/infer"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
Infer = grpc.aio.UnaryUnaryMultiCallable[bytes, pb.ModelInferResponse]
Stream = grpc.aio.StreamStreamMultiCallable[bytes, pb.ModelStreamInferResponse]


class OneFleet:
    """Implements `Fleet`: one fake engine."""

    def __init__(self, engine: FakeEngine, house: House, metrics: Metrics) -> None:
        self.loader = RemoteOnly()
        self._engine = engine
        self._house = house
        metrics.start_engine(engine.name)

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`; nobody else can reach it."""
        return ()

    async def start(self) -> None:
        """See `Fleet`."""
        card = await self._engine.describe(ModelRef(name=REF.name, version=""), 1.0)
        self._house.repository.pinned.add(card.ref.name)
        self._house.admit(card, self._engine)

    async def run(self) -> None:
        """See `Fleet`; there is nothing to watch."""
        await asyncio.Event().wait()

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""


@dataclass(frozen=True)
class Traced:
    """A running gateway and callers at its doors."""

    gateway: Gateway
    engine: FakeEngine
    rest: httpx.AsyncClient
    channel: grpc.aio.Channel

    async def over_grpc(self, image: bytes = b"a", *metadata: tuple[str, str], model: str = REF.name) -> None:
        """Ask over gRPC."""
        ask = self.channel.unary_unary
        call: Infer = ask(MODEL_INFER, response_deserializer=pb.ModelInferResponse.FromString)
        await call(message(image, model).SerializeToString(), metadata=metadata)

    async def over_rest(self, image: bytes = b"a", *headers: tuple[str, str], path: str = PATH) -> int:
        """Ask over REST; gives the status."""
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [image.decode()]}
        body = json.dumps({"inputs": [tensor]}).encode()
        return (await self.rest.post(path, content=body, headers=list(headers))).status_code

    async def metrics(self) -> str:
        """The metrics page as Prometheus asks for it."""
        async with httpx.AsyncClient(trust_env=False) as client:
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            return (await client.get(self.gateway.addresses.metrics, headers=accept)).text


@asynccontextmanager
async def traced_gateway(
    folder: Path, endpoint: str, ratio: float = 1.0, pace: Pace | None = None
) -> AsyncIterator[Traced]:
    """One that traces that share of the requests; what it has to send is sent when the context ends."""
    engine = FakeEngine("fake", [CARD], pace)
    config = Config(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        run_dir=folder,
        experiments=ExperimentsConfig(enabled=False),
        tracing=TracingConfig(endpoint=endpoint, sample_ratio=ratio),
    )
    gateway = Gateway(config, lambda _config, house, metrics: OneFleet(engine, house, metrics))
    try:
        await gateway.start()
        async with (
            httpx.AsyncClient(base_url=gateway.addresses.http, trust_env=False) as rest,
            grpc.aio.insecure_channel(gateway.addresses.grpc) as channel,
        ):
            yield Traced(gateway, engine, rest, channel)
    finally:
        await gateway.close()


def message(image: bytes, model: str = REF.name) -> pb.ModelInferRequest:
    """A request for one image."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(image)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor])


def parent(trace: str, *, sampled: bool = True, span: str = "b7ad6b7169203331") -> tuple[str, str]:
    """The header of a caller that traces; see https://www.w3.org/TR/trace-context/#traceparent-header."""
    return "traceparent", f"00-{trace}-{span}-0{int(sampled)}"
