"""An inference request that never reaches the service is counted, once, with what was wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest

from serve.core.access import Access, Role, Token
from serve.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    ServeError,
    TooLargeError,
    UnauthenticatedError,
)
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.pb import open_inference_pb2 as pb
from tests.edge.doors import as_service, grpc_door
from tests.edge.fakes import FakeService

INFER = "/v2/models/digits/infer"
METHOD = "/inference.GRPCInferenceService/"
GUARDED = Access(tokens=(Token(name="ci", role=Role.INFER, sha256=hashlib.sha256(b"secret").hexdigest()),))


Raw = Callable[..., Any]  # generated stubs aside, a channel's calls are typed for messages, not for bytes


def unary(channel: grpc.aio.Channel, method: str) -> Raw:
    """A method of the protocol that takes and gives bytes."""
    call: Raw = channel.unary_unary(METHOD + method)
    return call


def kinds(fake: FakeService) -> list[tuple[str, type[ServeError]]]:
    """What was refused, without the texts."""
    return [(protocol, type(error)) for protocol, error in fake.refusals]


@pytest.mark.parametrize(
    ("content", "kind"), [(b"no JSON", InvalidRequestError), (b"{" + b" " * 100_000, TooLargeError)]
)
async def test_a_body_that_cannot_be_used_is_counted(
    rest: httpx.AsyncClient, fake: FakeService, content: bytes, kind: type[ServeError]
) -> None:
    """REST: bytes that are no request, and too many of them, count as one refusal each."""
    await rest.post(INFER, content=content)
    assert kinds(fake) == [("http", kind)]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
async def test_a_message_that_cannot_be_parsed_is_counted(
    channel: grpc.aio.Channel, fake: FakeService, method: str
) -> None:
    """gRPC: an undecodable message counts as one refusal, alone or in a stream."""
    if method == "ModelInfer":
        with pytest.raises(grpc.aio.AioRpcError):
            await unary(channel, method)(b"\xff\xff")
    else:
        stream: Raw = channel.stream_stream(METHOD + method)
        async for _ in stream(iter([b"\xff\xff"])):
            pass
    assert kinds(fake) == [("grpc", InvalidRequestError)]


async def test_a_missing_token_is_counted_at_both_doors(fake: FakeService) -> None:
    """Inference without a token counts; asking for metadata without one is no inference."""
    app = build_rest_app(as_service(fake), GUARDED, EdgeLimits())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        await client.post(INFER, content=b"{}")
        await client.get("/v2/models/digits")
    async with (
        grpc_door(fake, GUARDED) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        for method in ("ModelInfer", "ModelMetadata"):
            with pytest.raises(grpc.aio.AioRpcError):
                await unary(channel, method)(b"")
    assert kinds(fake) == [("http", UnauthenticatedError), ("grpc", UnauthenticatedError)]


async def test_what_the_service_itself_refuses_is_not_counted_twice(
    rest: httpx.AsyncClient, fake: FakeService
) -> None:
    """A request that reached the service is the service's to count."""
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    response = await rest.post("/v2/models/nobody/infer", json={"inputs": [tensor]})
    assert response.status_code == 404
    assert kinds(fake) == []


async def test_who_may_not_operate_is_taken_down_at_both_doors(fake: FakeService) -> None:
    """Denied acts, with what was wanted and from where; what is denied for inference or metadata is none."""
    app = build_rest_app(as_service(fake), GUARDED, EdgeLimits())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        await client.post("/v2/repository/models/digits/load", headers={"Authorization": "Bearer secret"})
        await client.post("/v2/repository/models/digits/unload")
        await client.get("/v2/models/digits")
        await client.post(INFER, content=b"{}")
    async with (
        grpc_door(fake, GUARDED) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        for method in ("RepositoryModelLoad", "ModelMetadata", "ModelInfer"):
            with pytest.raises(grpc.aio.AioRpcError):
                await unary(channel, method)(b"")
    denied = [(act.name, act.target, act.principal, act.protocol) for act, _ in fake.denials]
    assert denied == [
        ("load", "digits", "ci", "http"),
        ("unload", "digits", "", "http"),
        ("load", "", "", "grpc"),
    ]
    assert [type(error) for _, error in fake.denials] == [
        ForbiddenError,
        UnauthenticatedError,
        UnauthenticatedError,
    ]
    assert all("127.0.0.1" in act.peer for act, _ in fake.denials)
    assert "secret" not in repr(fake.denials)


OPERATORS = Access(
    tokens=(Token(name="ops", role=Role.OPERATE, sha256=hashlib.sha256(b"secret").hexdigest()),)
)


async def test_an_act_that_cannot_be_read_is_taken_down_at_both_doors(fake: FakeService) -> None:
    """Whoever may operate and sends what is no request leaves a line with a name on it."""
    app = build_rest_app(as_service(fake), OPERATORS, EdgeLimits())
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for act, body in (("load", b"no JSON"), ("unload", b'{"parameters": 1}')):
            path = f"/v2/repository/models/digits/{act}"
            assert (await client.post(path, content=body, headers=headers)).status_code == 400
    unset = pb.RepositoryModelUnloadRequest(
        model_name="digits", parameters={"k": pb.ModelRepositoryParameter()}
    )
    sent = {"RepositoryModelLoad": b"\xff\xff", "RepositoryModelUnload": unset.SerializeToString()}
    async with (
        grpc_door(fake, OPERATORS) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        for method, message in sent.items():
            with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
                await unary(channel, method)(message, metadata=(("authorization", "Bearer secret"),))
    assert [(act.name, act.target, act.principal, act.protocol) for act, _ in fake.denials] == [
        ("load", "digits", "ops", "http"),
        ("unload", "digits", "ops", "http"),
        ("load", "", "ops", "grpc"),
        ("unload", "digits", "ops", "grpc"),
    ]
    assert {type(error) for _, error in fake.denials} == {InvalidRequestError}


async def test_two_authorizations_are_refused_at_both_doors(fake: FakeService) -> None:
    """Even if both are right: what stands in front of the gateway may have looked at the other one."""
    app = build_rest_app(as_service(fake), GUARDED, EdgeLimits())
    twice = [("Authorization", "Bearer secret"), ("Authorization", "Bearer other")]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for headers in (twice, twice[::-1]):
            answer = await client.get("/v2/models/digits", headers=headers)
            assert (answer.status_code, "given twice" in answer.json()["error"]) == (401, True)
    async with (
        grpc_door(fake, GUARDED) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        metadata = tuple((key.lower(), value) for key, value in twice)
        with pytest.raises(grpc.aio.AioRpcError, match="given twice") as caught:
            await unary(channel, "ModelMetadata")(b"", metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
