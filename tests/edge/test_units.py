"""The unit that a caller names beside the request: x-unit-id as header and as metadata."""

from __future__ import annotations

import grpc
import httpx
import pytest

from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.edge.fakes import FakeService

INFER = "/v2/models/digits/infer"
BODY = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["png"]}]}
MESSAGE = pb.ModelInferRequest(
    model_name="digits",
    inputs=[pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])],
    raw_input_contents=[b"\x03\x00\x00\x00png"],
)
LONG = "u" * 512
REFUSED = "must be 1 to 512 printable characters"


@pytest.mark.parametrize("unit", ["user-7", "a b", "Zoë", "雪", LONG])
async def test_a_header_names_the_unit(rest: httpx.AsyncClient, fake: FakeService, unit: str) -> None:
    """In UTF-8, as the request parameter does, so that both mean the same unit."""
    answer = await rest.post(INFER, json=BODY, headers={b"X-Unit-Id": unit.encode()})
    assert answer.status_code == 200
    assert fake.calls[0].unit == unit


@pytest.mark.parametrize("unit", ["user-7", "a b", LONG])
async def test_metadata_names_the_unit(channel: grpc.aio.Channel, fake: FakeService, unit: str) -> None:
    """Of a single call, and of a stream, whose every message has it."""
    stub = GRPCInferenceServiceStub(channel)
    metadata = (("x-unit-id", unit),)
    await stub.ModelInfer(MESSAGE, metadata=metadata)
    answers = [answer async for answer in stub.ModelStreamInfer(iter([MESSAGE] * 2), metadata=metadata)]
    assert [answer.error_message for answer in answers] == ["", ""]
    assert [call.unit for call in fake.calls] == [unit] * 3


async def test_without_one_there_is_none(
    rest: httpx.AsyncClient, channel: grpc.aio.Channel, fake: FakeService
) -> None:
    """Nothing is made up here."""
    await rest.post(INFER, json=BODY)
    await GRPCInferenceServiceStub(channel).ModelInfer(MESSAGE)
    assert [call.unit for call in fake.calls] == [None, None]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([b""], REFUSED),
        ([b"u" * 513], REFUSED),
        ([b"a\tb"], REFUSED),
        ([b"a\x7f"], REFUSED),
        ([b"\xff"], "must be UTF-8"),
        ([b"a", b"a"], "x-unit-id: is given 2 times, a request has one unit"),
    ],
)
async def test_a_header_that_is_no_unit_is_refused(
    rest: httpx.AsyncClient, fake: FakeService, units: list[bytes], message: str
) -> None:
    """By name, and counted as a refused request; nothing is classified."""
    answer = await rest.post(INFER, json=BODY, headers=[(b"x-unit-id", unit) for unit in units])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("x-unit-id: ")
    assert message in answer.json()["error"]
    assert fake.requests == []
    assert [protocol for protocol, _ in fake.refusals] == ["http"]


@pytest.mark.parametrize("units", [("",), ("u" * 513,), ("a", "b")])
async def test_metadata_that_are_no_unit_are_refused(
    channel: grpc.aio.Channel, fake: FakeService, units: tuple[str, ...]
) -> None:
    """As over REST; a stream is refused as a whole."""
    stub = GRPCInferenceServiceStub(channel)
    metadata = tuple(("x-unit-id", unit) for unit in units)
    for call in (stub.ModelInfer(MESSAGE, metadata=metadata),
                 stub.ModelStreamInfer(iter([MESSAGE]), metadata=metadata).read()):  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (caught.value.details() or "").startswith("x-unit-id: ")
    assert fake.requests == []
    assert [protocol for protocol, _ in fake.refusals] == ["grpc", "grpc"]


async def test_probes_are_never_refused_for_it(channel: grpc.aio.Channel) -> None:
    """Whether something runs is told to whoever asks."""
    stub = GRPCInferenceServiceStub(channel)
    answer = await stub.ServerLive(pb.ServerLiveRequest(), metadata=(("x-unit-id", ""),))
    assert answer.live
