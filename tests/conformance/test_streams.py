"""ModelStreamInfer: many requests on one call, side by side, answered in their own order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from serve.core.batching import Limits
from serve.edge.grpc_stream import READ_AHEAD
from serve.engines.fake import Pace
from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import MODEL, SERVICE, Gateway, gateway, until_busy, until_inflight
from tests.conformance.wire import raw_image, read_message
from tests.service.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

Stream = grpc.aio.StreamStreamCall[pb.ModelInferRequest, pb.ModelStreamInferResponse]


async def opened(gateway: Gateway, *requests: pb.ModelInferRequest, timeout: float | None = None) -> Stream:  # noqa: ASYNC109  gRPC's own
    """A stream on which these requests have been sent; it stays open for more."""
    stream: Stream = gateway.stub.ModelStreamInfer(timeout=timeout)
    for request in requests:
        await stream.write(request)
    return stream


async def read(stream: Stream, count: int) -> list[pb.ModelStreamInferResponse]:
    """The next answers."""
    async with asyncio.timeout(20):
        answers: list[Any] = [await stream.read() for _ in range(count)]
    return answers


def ids(answers: list[pb.ModelStreamInferResponse]) -> list[str]:
    """The requests' ids in the answers."""
    return [answer.infer_response.id for answer in answers]


async def test_each_message_has_its_answer_in_order(shared: Gateway) -> None:
    """A failed message has an error text and its id, the others their tensors, and the stream goes on."""
    requests = [
        raw_image(id="1"),
        raw_image(id="2", model_name="nobody"),
        raw_image(b"BAD", id="3"),
        pb.ModelInferRequest(model_name=MODEL, id="4"),
        raw_image(id="5", outputs=[{"name": "label"}]),
    ]
    stream = await opened(shared, *requests)
    answers = await read(stream, 5)
    assert ids(answers) == ["1", "2", "3", "4", "5"]
    assert [answer.error_message for answer in answers] == [
        "",
        "model 'nobody' is not found",
        "image [0]: cannot decode: it begins with BAD",
        f"inputs: model '{MODEL}' takes exactly one of 'image', 'pixels', 'input', got none",
        "",
    ]
    good = read_message(answers[4].infer_response)
    assert (good.body["model_version"], [o["name"] for o in good.body["outputs"]]) == ("2", ["label"])
    assert [dict(good.body["parameters"])] == [{"triton_final_response": True}]
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_messages_are_worked_on_side_by_side() -> None:
    """Sixteen messages are in one batch, or in few: the stream does not wait for one to send the next."""
    async with gateway(house=House(pace=Pace(batch_s=0.2))) as fresh:
        started = time.monotonic()
        stream = await opened(fresh, *(raw_image(str(n).encode(), id=str(n)) for n in range(READ_AHEAD)))
        assert ids(await read(stream, READ_AHEAD)) == [str(n) for n in range(READ_AHEAD)]
        assert time.monotonic() - started < 0.2 * READ_AHEAD / 2
        assert len(fresh.house.engine.batches) < READ_AHEAD / 2
        await stream.done_writing()


async def test_a_quick_answer_waits_for_a_slow_one_before_it() -> None:
    """The order is that of the requests, whatever is ready first."""
    async with gateway() as fresh:
        fresh.house.engine.hang()
        stream = await opened(fresh, raw_image(id="slow"), raw_image(id="quick", model_name="nobody"))
        await until_busy(fresh.house)
        first = asyncio.ensure_future(stream.read())
        assert not (await asyncio.wait({first}, timeout=0.2))[0]
        fresh.house.engine.wake()
        answers: list[Any] = [await first, *await read(stream, 1)]
        assert ids(answers) == ["slow", "quick"]
        await stream.done_writing()


async def test_no_more_is_read_ahead_than_that() -> None:
    """While nothing can be answered, so many messages are worked on, and the rest wait on the wire."""
    async with gateway() as fresh:
        fresh.house.engine.hang()
        stream = await opened(fresh, *(raw_image(id=str(n)) for n in range(READ_AHEAD + 5)))
        await until_inflight(fresh.house, READ_AHEAD)
        await asyncio.sleep(0.2)
        assert fresh.house.service.inflight == READ_AHEAD
        fresh.house.engine.wake()
        assert len(await read(stream, READ_AHEAD + 5)) == READ_AHEAD + 5
        await stream.done_writing()


async def test_what_was_sent_before_the_half_close_is_answered(shared: Gateway) -> None:
    """A caller that has said all still gets all."""

    async def all_at_once() -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(40):
            yield raw_image(id=str(number))

    answers: list[Any] = [answer async for answer in shared.stub.ModelStreamInfer(all_at_once())]
    assert ids(answers) == [str(number) for number in range(40)]


async def test_a_stream_without_messages_ends_well(shared: Gateway) -> None:
    """Nothing asked, nothing answered."""
    stream = await opened(shared)
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_cancelled_stream_gives_up_what_runs() -> None:
    """No request of it is left, and each is counted as cancelled."""
    async with gateway() as fresh:
        fresh.house.engine.hang()
        stream = await opened(fresh, *(raw_image(id=str(n)) for n in range(3)))
        await until_inflight(fresh.house, 3)
        stream.cancel()
        await until_inflight(fresh.house, 0)
        assert fresh.house.outcomes(version="2") == {"grpc cancelled": 3}


async def test_a_streams_deadline_ends_it() -> None:
    """DEADLINE_EXCEEDED for the call; what ran for it is given up or told the same."""
    async with gateway() as fresh:
        fresh.house.engine.hang()
        stream = await opened(fresh, raw_image(id="1"), timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(stream, 2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until_inflight(fresh.house, 0)


async def test_a_timeout_parameter_ends_one_message_only() -> None:
    """The others of the stream have their own time."""
    async with gateway(house=House(pace=Pace(), limits=Limits(max_batch=1, max_queue_images=10))) as fresh:
        fresh.house.engine.hang()
        hurried = raw_image(id="1", parameters={"timeout": pb.InferParameter(int64_param=100_000)})
        stream = await opened(fresh, hurried, raw_image(id="2"))
        (first,) = await read(stream, 1)
        assert first.infer_response.id == "1"
        assert first.error_message
        fresh.house.engine.wake()
        assert [(a.infer_response.id, a.error_message) for a in await read(stream, 1)] == [("2", "")]
        await stream.done_writing()


async def test_an_idle_stream_stays_open(shared: Gateway) -> None:
    """Between two messages a caller may take its time."""
    stream = await opened(shared, raw_image(id="1"))
    assert ids(await read(stream, 1)) == ["1"]
    await asyncio.sleep(1.5)
    await stream.write(raw_image(id="2"))
    assert ids(await read(stream, 1)) == ["2"]
    await stream.done_writing()


async def test_while_draining_messages_are_refused_one_by_one() -> None:
    """What runs is answered, what comes later hears why it is not."""
    async with gateway() as fresh:
        fresh.house.engine.hang()
        stream = await opened(fresh, raw_image(id="1"))
        await until_busy(fresh.house)
        drained = asyncio.create_task(fresh.house.service.drain(10))
        await asyncio.sleep(0)
        await stream.write(raw_image(id="2"))
        fresh.house.engine.wake()
        answers = await read(stream, 2)
        assert [answer.error_message for answer in answers] == ["", "the server is shutting down"]
        await drained


async def test_an_idle_stream_is_told_when_the_server_goes() -> None:
    """UNAVAILABLE with the reason, at once: the caller opens a stream elsewhere."""
    async with gateway() as fresh:
        stream = await opened(fresh, raw_image(id="1"))
        await read(stream, 1)
        started = time.monotonic()
        stopped = asyncio.create_task(fresh.edge.stop(10))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(stream, 1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the server is shutting down"
        await stopped
        assert time.monotonic() - started < 5


async def test_bytes_that_are_no_message_do_not_end_a_stream(shared: Gateway) -> None:
    """They are answered with an error, and the next message with tensors."""
    call: Any = shared.channel.stream_stream(f"{SERVICE}ModelStreamInfer")
    parts = iter([b"\xff\xff", raw_image().SerializeToString()])
    answers = [pb.ModelStreamInferResponse.FromString(data) async for data in call(parts)]
    assert [bool(answer.error_message) for answer in answers] == [True, False]


async def test_a_message_that_is_too_large_ends_the_stream(shared: Gateway) -> None:
    """GRPC cannot skip it: RESOURCE_EXHAUSTED, and nothing keeps running."""
    stream = await opened(shared, raw_image(bytes(1 << 21)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(stream, 1)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await until_inflight(shared.house, 0)
