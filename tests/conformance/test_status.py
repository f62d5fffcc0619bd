"""Section "status mapping": each case at both doors, with both codes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest

from serve.core.access import Access, Role, Token
from serve.core.batching import Limits
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.engines.fake import Pace
from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import LOADING, MODEL, Gateway, gateway, until_busy, until_inflight
from tests.conformance.wire import Body, Said, ask_grpc, ask_rest, document, given, json_image, raw_image
from tests.edge.doors import status_of_post
from tests.edge.fakes import FAILURES
from tests.service.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

Ask = Callable[[Gateway], Awaitable[tuple[Said, Said]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row of the table.

    Attributes:
        retry: Whether the caller is told when to come back.
        harms: Whether it leaves the gateway unfit for other tests.
    """

    case: str
    grpc: str
    http: int
    ask: Ask
    retry: bool = False
    harms: bool = False


async def both(
    open_gateway: Gateway, request: pb.ModelInferRequest, body: Body, model: str = MODEL
) -> tuple[Said, Said]:
    """The same request at both doors."""
    request.model_name = model
    return await ask_grpc(open_gateway, request), await ask_rest(
        open_gateway, body, f"/v2/models/{model}/infer"
    )


async def bad_tensor(shared: Gateway) -> tuple[Said, Said]:
    """A shape that does not fit the data."""
    request = raw_image()
    request.inputs[0].shape[:] = [2]
    return await both(shared, request, document(given("image", "BYTES", [2], ["png"])))


async def bad_image(shared: Gateway) -> tuple[Said, Said]:
    """An image that cannot be decoded."""
    return await both(shared, raw_image(b"BAD"), json_image("BAD"))


async def unknown_model(shared: Gateway) -> tuple[Said, Said]:
    """Nobody."""
    return await both(shared, raw_image(), json_image(), "nobody")


async def unknown_version(shared: Gateway) -> tuple[Said, Said]:
    """A version that is no number even."""
    path = f"/v2/models/{MODEL}/versions/v10/infer"
    return (
        await ask_grpc(shared, raw_image(model_version="v10")),
        await ask_rest(shared, json_image(), path),
    )


async def not_ready(shared: Gateway) -> tuple[Said, Said]:
    """A model that loads."""
    return await both(shared, raw_image(), json_image(), LOADING)


async def draining(shared: Gateway) -> tuple[Said, Said]:
    """A server on its way out."""
    shared.house.service.draining = True
    return await both(shared, raw_image(), json_image())


async def queue_full(shared: Gateway) -> tuple[Said, Said]:
    """One image runs, two wait, and there is no room for a third."""
    house = shared.house
    house.engine.hang()
    waiting = [asyncio.create_task(ask_grpc(shared, raw_image(b"1")))]
    await until_busy(house)
    waiting += [asyncio.create_task(ask_grpc(shared, raw_image(name))) for name in (b"2", b"3")]
    await until_inflight(house, 3)
    said = await both(shared, raw_image(), json_image())
    house.engine.wake()
    assert [one.code for one in await asyncio.gather(*waiting)] == ["OK"] * 3
    return said


async def out_of_time(shared: Gateway) -> tuple[Said, Said]:
    """The `timeout` parameter passes while the engine hangs."""
    shared.house.engine.hang()
    timeout = pb.InferParameter(int64_param=50_000)
    return await both(
        shared, raw_image(parameters={"timeout": timeout}), json_image(parameters={"timeout": 50_000})
    )


async def out_of_time_by_deadline(shared: Gateway) -> tuple[Said, Said]:
    """The deadline that gRPC itself has; REST has only the parameter."""
    shared.house.engine.hang()
    over_grpc = await ask_grpc(shared, raw_image(), timeout=0.1)
    return over_grpc, await ask_rest(shared, json_image(parameters={"timeout": 50_000}))


async def too_large(shared: Gateway) -> tuple[Said, Said]:
    """More bytes than are let in."""
    return await both(shared, raw_image(bytes(1 << 21)), Body(content=bytes(1 << 21)))


async def too_many(shared: Gateway) -> tuple[Said, Said]:
    """More images than a request may hold."""
    images = [b"x"] * 129
    request = pb.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="image", datatype="BYTES", shape=[129]).contents.bytes_contents.extend(images)
    return await both(shared, request, document(given("image", "BYTES", [129], ["x"] * 129)))


async def unsupported(shared: Gateway) -> tuple[Said, Said]:
    """Shared memory."""
    request = raw_image()
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    return await both(shared, request, document(given("image", "BYTES", [1], shared_memory_region="r")))


async def fault(shared: Gateway) -> tuple[Said, Said]:
    """A bug on the way."""

    async def explode(*_: object) -> None:
        raise FAILURES["broken"]

    shared.house.batcher.predict = explode  # type: ignore[method-assign,assignment]
    return await both(shared, raw_image(), json_image())


async def no_token(_shared: Gateway) -> tuple[Said, Said]:
    """A server with tokens, and a caller without one."""
    async with guarded() as closed:
        return await both(closed, raw_image(), json_image())


async def low_role(_shared: Gateway) -> tuple[Said, Said]:
    """A caller who may infer, and wants to unload."""
    bearer = "Bearer reader"
    async with guarded() as closed:
        request = pb.RepositoryModelUnloadRequest(model_name=MODEL)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await closed.stub.RepositoryModelUnload(request, metadata=(("authorization", bearer),))
        answer = await closed.rest.post(
            f"/v2/repository/models/{MODEL}/unload", headers={"Authorization": bearer}
        )
    over_grpc = Said(code=caught.value.code().name, error=caught.value.details() or "")
    return over_grpc, Said(code=answer.status_code, error=answer.json()["error"])


@asynccontextmanager
async def guarded() -> AsyncIterator[Gateway]:
    """A gateway that asks for tokens."""
    digest = hashlib.sha256(b"reader").hexdigest()
    async with gateway(
        access=Access(tokens=(Token(name="reader", role=Role.INFER, sha256=digest),))
    ) as closed:
        yield closed


CASES = (
    Case(case="bad tensor", grpc="INVALID_ARGUMENT", http=400, ask=bad_tensor),
    Case(case="bad image", grpc="INVALID_ARGUMENT", http=400, ask=bad_image),
    Case(case="unknown model", grpc="NOT_FOUND", http=404, ask=unknown_model),
    Case(case="unknown version", grpc="NOT_FOUND", http=404, ask=unknown_version),
    Case(case="model known, not ready", grpc="UNAVAILABLE", http=503, ask=not_ready, retry=True),
    Case(case="draining", grpc="UNAVAILABLE", http=503, ask=draining, retry=True, harms=True),
    Case(case="queue full", grpc="RESOURCE_EXHAUSTED", http=429, ask=queue_full, retry=True, harms=True),
    Case(case="queue timeout", grpc="DEADLINE_EXCEEDED", http=504, ask=out_of_time, harms=True),
    Case(case="deadline", grpc="DEADLINE_EXCEEDED", http=504, ask=out_of_time_by_deadline, harms=True),
    Case(case="body too large", grpc="RESOURCE_EXHAUSTED", http=413, ask=too_large),
    Case(case="too many images", grpc="RESOURCE_EXHAUSTED", http=413, ask=too_many),
    Case(case="unsupported feature", grpc="UNIMPLEMENTED", http=501, ask=unsupported),
    Case(case="execution fault", grpc="INTERNAL", http=500, ask=fault, harms=True),
    Case(case="no token", grpc="UNAUTHENTICATED", http=401, ask=no_token),
    Case(case="a role too low", grpc="PERMISSION_DENIED", http=403, ask=low_role),
)


@pytest.mark.parametrize("row", [row for row in CASES if not row.harms], ids=lambda row: row.case)
async def test_both_codes(shared: Gateway, row: Case) -> None:
    """The same failure has the table's two codes, and where waiting helps, both doors say for how long."""
    _check(row, *await row.ask(shared))


@pytest.mark.parametrize("row", [row for row in CASES if row.harms], ids=lambda row: row.case)
async def test_both_codes_of_a_gateway_in_trouble(row: Case) -> None:
    """The same, of what is wrong with the server rather than with the request."""
    house = House(pace=Pace(), limits=Limits(max_batch=1, max_queue_images=2, prefetch=0))
    async with gateway(house=house) as fresh:
        over_grpc, over_rest = await row.ask(fresh)
        house.engine.wake()
    _check(row, over_grpc, over_rest)


def _check(row: Case, over_grpc: Said, over_rest: Said) -> None:
    assert (over_grpc.code, over_rest.code) == (row.grpc, row.http)
    assert ("retry-after" in over_grpc.headers, "retry-after" in over_rest.headers) == (row.retry, row.retry)
    assert "secret" not in over_grpc.error + over_rest.error


async def test_a_caller_that_leaves() -> None:
    """CANCELLED, and 499 for the record: nobody is there to read either."""
    async with gateway() as fresh:
        house = fresh.house
        house.engine.hang()
        call = fresh.stub.ModelInfer(raw_image())
        await until_inflight(house, 1)
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        await until_inflight(house, 0)
        app = build_rest_app(house.service, Access(), EdgeLimits())
        body = {"type": "http.request", "body": json_image().content}
        path = f"/v2/models/{MODEL}/infer"
        assert await status_of_post(app, path, body, {"type": "http.disconnect"}) == 499
        assert house.service.inflight == 0
        assert house.outcomes(version="2") == {"grpc cancelled": 1, "http cancelled": 1}
