"""A whole gateway over the fake engine, in this process: both doors, on free ports, and a client at each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import grpc
import httpx

from serve.core.access import Access
from serve.core.catalog import ModelState
from serve.core.messages import ModelRef
from serve.edge.grpc_api import GrpcEdge, build_grpc_server
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.engines.fake import Pace, class_of
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from serve.repository import Entry
from tests.edge.doors import http_door
from tests.service.house import CARD, House

MODEL = CARD.ref.name
PLAIN = "digits_plain"
LOADING = "digits_loading"
MAX_MESSAGE_BYTES = 1 << 20
SERVICE = "/inference.GRPCInferenceService/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the tests of the protocol talk to.

    Attributes:
        house: All between the doors and the engines.
        http_port: Where REST is, for those who bring their own client.
    """

    house: House
    edge: GrpcEdge
    http_port: int
    channel: grpc.aio.Channel
    stub: GRPCInferenceServiceStub
    rest: httpx.AsyncClient


@asynccontextmanager
async def gateway(
    *, access: Access | None = None, limits: EdgeLimits | None = None, house: House | None = None
) -> AsyncIterator[Gateway]:
    """A gateway with two versions of a model, a plain one, and one that still loads."""
    house = furnished(house or House(pace=Pace(batch_s=0.001)))
    access, limits = access or Access(), limits or EdgeLimits(max_message_bytes=MAX_MESSAGE_BYTES)
    edge = build_grpc_server(house.service, access, limits)
    edge.listen("127.0.0.1:0")
    await edge.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        async with (
            http_door(build_rest_app(house.service, access, limits), limits) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}", options=options) as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as rest,
        ):
            stub = GRPCInferenceServiceStub(channel)
            yield Gateway(house=house, edge=edge, http_port=port, channel=channel, stub=stub, rest=rest)
    finally:
        await edge.stop(0)
        await house.pool.close()


def furnished(house: House) -> House:
    """Put the models in."""
    second = replace(CARD, ref=ModelRef(name=MODEL, version="2"))
    plain = replace(CARD, ref=ModelRef(name=PLAIN, version="1"), attention="none", attention_layout=())
    for card in (second, plain):
        house.engine.hold(card)
        house.repository.put(Entry(ref=card.ref, state=ModelState.READY, card=card))
        house.pool.attach(card.ref, house.engine)
    house.repository.put(Entry(ref=ModelRef(name=LOADING, version="1"), state=ModelState.LOADING))
    return house


async def until_busy(house: House, batches: int = 1) -> None:
    """Wait until the engine has been given that many batches in all."""
    async with asyncio.timeout(10):
        while len(house.engine.batches) < batches:  # noqa: ASYNC110  the engine tells no one
            await asyncio.sleep(0.005)


async def until_inflight(house: House, requests: int) -> None:
    """Wait until that many requests wait for their answer."""
    async with asyncio.timeout(10):
        while house.service.inflight != requests:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.005)


def label_of(image: bytes) -> str:
    """What the fake engine names an image."""
    return CARD.labels[class_of(image, CARD.classes)]
