"""The service: limits of a request, draining, and what it tells about itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from serve.core.call import Call
from serve.core.catalog import BatchUsage, ModelState, ServerMetadata, Span
from serve.core.describe import EXTENSIONS
from serve.core.errors import (
    DeadlineError,
    NotFoundError,
    ServeError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from serve.core.messages import ModelRef, Parameter
from serve.engines.pool import PoolOptions
from serve.inference import RequestLimits
from serve.repository import Entry
from serve.service import ServiceOptions
from tests.service.house import CALL, CARD, REF, House, numbered, request_of
from tests.service.virtual_time import clock, in_virtual_time, settle


@in_virtual_time
async def test_draining_answers_what_runs_and_refuses_what_comes() -> None:
    """Requests in flight get their answers; new ones hear that the server shuts down; nothing is ready."""
    house = House()
    running = asyncio.create_task(house.service.infer(request_of((b"a",)), CALL))
    await settle()
    assert house.service.ready()
    drain = asyncio.create_task(house.service.drain(10.0))
    await settle()
    with pytest.raises(UnavailableError, match="shutting down"):
        await house.service.infer(request_of((b"b",)), CALL)
    assert not house.service.ready()
    assert not house.service.model_ready(REF.name)
    assert house.service.live()
    await drain
    assert clock() == 1.0
    assert running.done()
    assert (await running).model == REF.name


@in_virtual_time
async def test_what_is_left_when_draining_ends_is_unavailable() -> None:
    """At the timeout every request ends, whether it runs or waits, and drain returns when all have."""
    house = House(pool_options=PoolOptions(attempt_timeout_s=60.0))
    house.engine.hang()
    tasks = [asyncio.create_task(house.service.infer(request_of((image,)), CALL)) for image in numbered(3)]
    await settle()
    await house.service.drain(8.0)
    assert clock() == 8.0
    assert house.service.inflight == 0
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {str(answer) for answer in answers} == {
        "the server shut down before the request could be answered"
    }
    assert house.outcomes() == {"grpc unavailable": 3}
    house.engine.wake()
    await asyncio.sleep(2.0)


@pytest.mark.parametrize(
    ("options", "call", "parameters", "ends"),
    [
        (30.0, None, {}, 30.0),
        (30.0, 5.0, {}, 5.0),
        (30.0, 90.0, {}, 30.0),
        (30.0, 5.0, {"timeout": 2_000_000}, 2.0),
        (30.0, None, {"timeout": 0}, 30.0),
    ],
)
@in_virtual_time
async def test_the_shortest_deadline_holds(
    options: float, call: float | None, parameters: dict[str, Parameter], ends: float
) -> None:
    """Of the configured time, the call's deadline and the parameter `timeout` (microseconds)."""
    house = House(requests=RequestLimits(timeout_s=options))
    house.engine.hang()
    with pytest.raises(DeadlineError):
        await house.service.infer(
            request_of((b"a",), parameters=parameters), Call(protocol="grpc", deadline=call)
        )
    assert clock() == ends
    house.engine.wake()
    await asyncio.sleep(2.0)


@in_virtual_time
async def test_too_many_images_are_refused() -> None:
    """The limit of a request is told with the number that it carried."""
    house = House(requests=RequestLimits(max_images=4))
    with pytest.raises(TooLargeError, match="5 images in a request, at most 4 are allowed"):
        await house.service.infer(request_of(numbered(5)), CALL)
    assert house.sizes == []


@in_virtual_time
async def test_statistics_add_up() -> None:
    """Requests, images, batches, and where the time went; a batch counts for each request that it carried."""
    house = House()
    first = asyncio.create_task(house.service.infer(request_of((b"a",)), CALL))
    others = [asyncio.create_task(house.service.infer(request_of((b"b", b"c")), CALL)) for _ in range(2)]
    await asyncio.gather(first, *others)
    (usage,) = house.service.model_statistics()
    assert (usage.name, usage.version) == (REF.name, REF.version)
    assert (usage.inference_count, usage.execution_count) == (5, 2)
    assert usage.success == Span(count=3, ns=5 * 10**9)
    assert usage.queue == Span(count=3, ns=2 * 10**9)
    assert usage.compute_infer == Span(count=3, ns=3 * 10**9)
    assert usage.last_inference_ms > 0
    one_second = Span(count=1, ns=10**9)
    assert usage.batches == (
        BatchUsage(
            batch_size=1, compute_input=Span(count=1), compute_infer=one_second, compute_output=Span(count=1)
        ),
        BatchUsage(
            batch_size=4, compute_input=Span(count=1), compute_infer=one_second, compute_output=Span(count=1)
        ),
    )


@in_virtual_time
async def test_statistics_are_chosen_by_name_and_version() -> None:
    """All, those of a model, or one; unknown ones are errors."""
    house = House()
    other = ModelRef(name=REF.name, version="2")
    house.repository.put(Entry(ref=other, state=ModelState.LOADING))
    assert [usage.version for usage in house.service.model_statistics()] == ["1", "2"]
    assert [usage.version for usage in house.service.model_statistics(REF.name)] == ["1", "2"]
    assert [usage.version for usage in house.service.model_statistics(REF.name, "2")] == ["2"]
    for name, version in (("made_up", ""), (REF.name, "3"), ("", "1")):
        with pytest.raises(NotFoundError):
            house.service.model_statistics(name, version)


@in_virtual_time
async def test_the_server_and_its_models_describe_themselves() -> None:
    """Metadata, configuration and index say what the card and the repository hold."""
    house = House(options=ServiceOptions(version="1.2.3", max_queue_delay_s=0.002))
    service = house.service
    assert service.server_metadata() == ServerMetadata(
        name="attnserve", version="1.2.3", extensions=EXTENSIONS
    )
    metadata = service.model_metadata(REF.name)
    assert (metadata.name, metadata.versions, metadata.platform) == (
        REF.name, ("1",), "pytorch_torchscript",
    )  # fmt: skip
    assert [(spec.name, spec.shape) for spec in metadata.inputs] == [
        ("image", (-1, 1)),
        ("pixels", (-1, -1, -1, 3)),
        ("input", (-1, 3, 2, 2)),
    ]
    assert metadata.outputs[-1].shape == (-1, 3)
    assert json.loads(metadata.properties["labels"]) == list(CARD.labels)
    assert json.loads(metadata.properties["attention_layout"]) == [
        {"block": "layer1", "channels": 3, "branches": 1}
    ]
    config = service.model_config(REF.name, "1")
    assert (config.max_batch_size, config.max_queue_delay_us) == (16, 2000)
    assert [(entry.name, entry.state) for entry in service.repository_index()] == [
        (REF.name, ModelState.READY)
    ]


@in_virtual_time
async def test_a_model_that_was_never_ready_has_no_metadata_yet() -> None:
    """It is known and not ready; one that was ready is still described."""
    house = House()
    new = ModelRef(name="new", version="1")
    house.repository.put(Entry(ref=new, state=ModelState.LOADING))
    for describe in (house.service.model_metadata, house.service.model_config):
        with pytest.raises(UnavailableError, match="'new' version 1 is not ready, it is loading"):
            describe("new")
        with pytest.raises(NotFoundError):
            describe("made_up")
    house.repository.put(Entry(ref=REF, state=ModelState.UNAVAILABLE, reason="unloaded"))
    assert house.service.model_metadata(REF.name).name == REF.name
    assert not house.service.model_ready(REF.name)
    with pytest.raises(NotFoundError):
        house.service.model_ready("made_up")


@in_virtual_time
async def test_load_and_unload_take_no_files_from_clients() -> None:
    """The loader is asked by name; a configuration or a file of the client's own is refused."""
    house = House()
    await house.service.load_model("digits_sk", {}, CALL)
    await house.service.unload_model("digits_sk", {"unload_dependents": True}, CALL)
    assert house.loads.asked == [("load", "digits_sk"), ("unload", "digits_sk")]
    refused: list[ServeError] = []
    for parameters in ({"config": "{}"}, {"file:1/model.pt": b"x"}, {"unload_dependents": True}):
        with pytest.raises(UnsupportedError) as raised:
            await house.service.load_model("digits_sk", parameters, CALL)
        refused.append(raised.value)
    assert "'file:1/model.pt'" in refused[1].message
    assert len(house.loads.asked) == 2
