"""The service: every request is answered or refused for a reason, and counted once either way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest

from serve.core.batching import Limits
from serve.core.call import Call
from serve.core.catalog import ModelState
from serve.core.errors import (
    DeadlineError,
    EngineError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from serve.core.messages import InferResponse
from serve.engines.fake import BAD_IMAGE
from serve.engines.pool import PoolOptions
from serve.metrics import OUTCOMES
from serve.repository import Entry
from tests.service.house import CALL, CARD, REF, House, classes, numbered, request_of
from tests.service.virtual_time import in_virtual_time, settle

LOST = EngineError("engine: lost", reason="lost")
UNKNOWN = ("unknown", "")


def data_of(response: InferResponse, name: str) -> object:
    """The data of an output."""
    return next(tensor.data for tensor in response.outputs if tensor.name == name)


def images(house: House) -> dict[str, float]:
    """Images by how they ended, those that are not 0."""
    found = {
        outcome: house.sample("attnserve_images_total", model=REF.name, version=REF.version, outcome=outcome)
        for outcome in ("ok", *OUTCOMES.values())
    }
    return {outcome: count for outcome, count in found.items() if count}


@in_virtual_time
async def test_an_answer_names_who_gave_it() -> None:
    """The response carries the request's id, the resolved version, and label and probabilities unasked."""
    house = House()
    response = await house.service.infer(request_of((b"a", b"b")), CALL)
    assert (response.model, response.version, response.request_id) == (REF.name, REF.version, "r1")
    assert [tensor.name for tensor in response.outputs] == ["probabilities", "label"]
    assert data_of(response, "label") == tuple(str(label).encode() for label in classes((b"a", b"b")))
    assert dict(response.parameters) == {}


@in_virtual_time
async def test_outputs_come_as_they_were_asked_for() -> None:
    """Those named, in the order named, with the gates of a net that has them."""
    house = House()
    request = request_of((b"a",), outputs=("status", "attention", "logits"))
    response = await house.service.infer(request, CALL)
    assert [(tensor.name, tensor.shape) for tensor in response.outputs] == [
        ("status", (1,)),
        ("attention", (1, 3)),
        ("logits", (1, 10)),
    ]


@in_virtual_time
async def test_random_weights_are_said_in_every_reply() -> None:
    """The parameter `untrained` marks the answers of a net without training."""
    house = House(card=replace(CARD, trained=False))
    response = await house.service.infer(request_of((b"a",)), CALL)
    assert dict(response.parameters) == {"untrained": True}


@in_virtual_time
async def test_one_bad_image_fails_the_request_by_default() -> None:
    """The error names the image's index; nothing else is answered."""
    house = House()
    with pytest.raises(InvalidRequestError, match=r"image \[1\]: cannot decode"):
        await house.service.infer(request_of((b"a", BAD_IMAGE)), CALL)
    assert house.outcomes() == {"grpc client_error": 1}
    assert images(house) == {"client_error": 2}


@in_virtual_time
async def test_partial_answers_the_good_images() -> None:
    """The others are answered, `status` always comes, a failed row is NaN and empty, `errors` says why."""
    house = House()
    request = request_of((b"a", BAD_IMAGE, b"c"), parameters={"partial": True})
    response = await house.service.infer(request, CALL)
    status, label, probabilities = (data_of(response, name) for name in ("status", "label", "probabilities"))
    assert isinstance(status, bytes)
    assert np.frombuffer(status, "<i4").tolist() == [0, 3, 0]
    first, last = classes((b"a", b"c"))
    assert label == (str(first).encode(), b"", str(last).encode())
    assert isinstance(probabilities, bytes)
    rows = np.frombuffer(probabilities, "<f4").reshape(3, 10)
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False]
    errors = response.parameters["errors"]
    assert isinstance(errors, str)
    assert json.loads(errors) == {"1": "cannot decode: it begins with BAD"}
    assert house.outcomes() == {"grpc ok": 1}
    assert images(house) == {"ok": 2, "client_error": 1}
    (usage,) = house.service.model_statistics(REF.name)
    assert (usage.inference_count, usage.success.count) == (2, 1)


async def overload(house: House) -> None:
    """Come when the queue is full."""
    before = [house.ask((b"a",)), house.ask(numbered(4))]
    await settle()
    try:
        await house.service.infer(request_of((b"a",)), CALL)
    finally:
        await asyncio.gather(*before)


async def fail_attempts(house: House) -> None:
    """Ask an engine that fails."""
    house.engine.fail_next(LOST)
    await house.service.infer(request_of((b"a",)), CALL)


async def come_to_a_bug(house: House) -> None:
    """Ask a model whose labels are fewer than its outputs, which no loader lets in."""
    card = replace(CARD, labels=())
    house.repository.put(Entry(ref=REF, state=ModelState.READY, card=card))
    await house.service.infer(request_of((b"a",)), CALL)


async def call_late(house: House) -> None:
    """Give the engine less time than it needs."""
    await house.service.infer(request_of((b"a",)), Call(protocol="grpc", deadline=0.5))


async def break_a_rule(house: House) -> None:
    """Ask for an output that is not there."""
    await house.service.infer(request_of((b"a",), outputs=("colour",)), CALL)


async def ask_while_loading(house: House) -> None:
    """Ask for a version that is not ready."""
    house.repository.put(Entry(ref=REF, state=ModelState.LOADING))
    await house.service.infer(request_of((b"a",)), CALL)


async def ask_while_draining(house: House) -> None:
    """Ask a server that shuts down."""
    await house.service.drain(1.0)
    await house.service.infer(request_of((b"a",)), CALL)


@pytest.mark.parametrize(
    ("ask", "error", "outcome"),
    [
        (break_a_rule, InvalidRequestError, "client_error"),
        (overload, OverloadedError, "shed"),
        (call_late, DeadlineError, "timeout"),
        (fail_attempts, EngineError, "unavailable"),
        (ask_while_loading, UnavailableError, "unavailable"),
        (ask_while_draining, UnavailableError, "unavailable"),
        (come_to_a_bug, IndexError, "internal"),
    ],
)
@in_virtual_time
async def test_each_failure_is_counted_once_under_its_outcome(
    ask: Callable[[House], Awaitable[None]], error: type[Exception], outcome: str
) -> None:
    """The request's series goes up by one, also in the duration and in the statistics, and nothing stays."""
    house = House(
        limits=Limits(max_batch=4, max_queue_images=4, prefetch=0), pool_options=PoolOptions(attempts=1)
    )
    with pytest.raises(error):
        await ask(house)
    assert house.outcomes() == {f"grpc {outcome}": 1}
    served = {"model": REF.name, "version": REF.version, "protocol": "grpc"}
    assert house.sample("attnserve_request_duration_seconds_count", **served) == 1
    (usage,) = house.service.model_statistics(REF.name, REF.version)
    assert (usage.fail.count, usage.success.count) == (1, 0)
    assert house.service.inflight == 0
    assert house.sample("attnserve_inflight_requests", model=REF.name) == 0
    await asyncio.sleep(1.0)


@in_virtual_time
async def test_a_caller_that_goes_is_counted_as_cancelled() -> None:
    """A cancelled request counts once, with its images."""
    house = House()
    task = asyncio.create_task(house.service.infer(request_of(numbered(3)), CALL))
    await settle()
    assert house.sample("attnserve_inflight_requests", model=REF.name) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.outcomes() == {"grpc cancelled": 1}
    assert images(house) == {"cancelled": 3}
    assert house.service.inflight == 0
    await asyncio.sleep(1.0)


@in_virtual_time
async def test_protocols_are_counted_apart() -> None:
    """The same request over either door has a series of its own."""
    house = House()
    for protocol in ("grpc", "http", "http"):
        await house.service.infer(request_of((b"a",)), Call(protocol=protocol))
    assert house.outcomes() == {"grpc ok": 1, "http ok": 2}


@in_virtual_time
async def test_names_that_clients_make_up_are_no_labels() -> None:
    """Unknown models and versions count under `unknown`, and never make a series."""
    house = House()
    for model, version in (("made_up", ""), (REF.name, "7"), ("", "")):
        with pytest.raises(NotFoundError):
            await house.service.infer(request_of((b"a",), model=model, version=version), CALL)
    assert house.outcomes(*UNKNOWN) == {"grpc client_error": 3}
    assert house.outcomes() == {}
    names = {sample.labels.get("model") for metric in house.registry.collect() for sample in metric.samples}
    assert names <= {None, "unknown", REF.name}


@in_virtual_time
async def test_what_the_edge_refuses_is_counted_too() -> None:
    """A bad token or a body too large never gets as far as `infer`, and is counted all the same."""
    house = House()
    house.service.refused("http", UnauthenticatedError("no token"))
    house.service.refused("http", TooLargeError("too large"))
    house.service.refused("grpc", InternalError("a bug"))
    assert house.outcomes(*UNKNOWN) == {"http client_error": 2, "grpc internal": 1}
