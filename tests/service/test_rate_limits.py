"""The service: a caller with a limit gets that many images, others are not touched; acts are taken down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from serve.core.call import Call
from serve.core.errors import InvalidRequestError, OverloadedError, TooLargeError, UnsupportedError
from serve.core.messages import Parameter
from serve.engines.fake import Pace
from tests.service.house import CALL, House, numbered, request_of
from tests.service.virtual_time import in_virtual_time

CI = Call(protocol="grpc", principal="ci")
QUICK = Pace(batch_s=0.001)


def limited() -> House:
    """A house where `ci` may have ten images a second."""
    house = House(pace=QUICK)
    house.limits_of["ci"] = 10.0
    return house


async def sent(house: House, images: Sequence[bytes], call: Call = CI) -> None:
    """Ask, and wait for the answer."""
    await house.service.infer(request_of(tuple(images)), call)


@in_virtual_time
async def test_a_caller_over_its_limit_is_told_when_to_come_back() -> None:
    """Five seconds' worth passes; then it is shed with the time to wait, after which it passes again."""
    house = limited()
    await sent(house, numbered(50))
    with pytest.raises(OverloadedError, match=r"'ci' has reached its rate limit") as refused:
        await sent(house, numbered(20))
    assert refused.value.retry_after_s == pytest.approx(2.0, abs=0.1)
    assert house.outcomes() == {"grpc ok": 1, "grpc shed": 1}
    await asyncio.sleep(refused.value.retry_after_s or 0.0)
    await sent(house, numbered(20))


@in_virtual_time
async def test_others_are_not_touched() -> None:
    """Neither another name nor a caller without one waits for what `ci` used up."""
    house = limited()
    house.limits_of["other"] = 10.0
    await sent(house, numbered(50))
    await sent(house, numbered(50), Call(protocol="http", principal="other"))
    for _ in range(10):
        await sent(house, numbered(50), CALL)


@in_virtual_time
async def test_more_than_the_burst_is_too_large() -> None:
    """It would never fit; the message says how many do."""
    house = limited()
    with pytest.raises(TooLargeError, match="'ci' may send at most 50 at once"):
        await sent(house, numbered(51))


@in_virtual_time
async def test_only_images_of_valid_requests_count() -> None:
    """What is refused for another reason takes nothing from the caller's share."""
    house = limited()
    for _ in range(100):
        with pytest.raises(InvalidRequestError, match="nothing"):
            await house.service.infer(request_of(numbered(10), outputs=["nothing"]), CI)
    await sent(house, numbered(50))


@in_virtual_time
async def test_a_limit_that_changes_holds_for_the_next_request() -> None:
    """The service asks for it anew each time, as tokens are changed while it runs."""
    house = limited()
    await sent(house, numbered(50))
    del house.limits_of["ci"]
    await sent(house, numbered(100))


def lines_of(house: House) -> list[dict[str, Any]]:
    """What the audit has."""
    house.audit.close()
    return [json.loads(line) for line in house.audited]


@in_virtual_time
async def test_loads_and_unloads_are_taken_down() -> None:
    """Who, what, over which protocol, how it ended; names of parameters, never what they held."""
    house = House()
    await house.service.load_model("digits_se", {}, CI)
    await house.service.unload_model("digits_se", {"unload_dependents": True}, CI)
    secret = b"a secret in a file"
    with pytest.raises(UnsupportedError):
        await house.service.load_model("x", {"file:1/model.pt": secret, "config": "{}"}, CI)
    for line in (lines := lines_of(house)):
        line.pop("time")
    who = {"principal": "ci", "protocol": "grpc", "duration_s": 0.0}
    assert lines[:2] == [
        {"act": "load", "target": "digits_se", "outcome": "ok"} | who,
        {
            "act": "unload",
            "target": "digits_se",
            "parameters": ["unload_dependents"],
            "outcome": "ok",
        }
        | who,
    ]
    assert (lines[2]["outcome"], lines[2]["parameters"]) == ("unsupported", ["config", "file:1/model.pt"])
    assert not any(secret in line for line in house.audited)


@in_virtual_time
async def test_the_reason_for_a_load_is_taken_down() -> None:
    """It stands in the line in full, with its blanks inside, and nothing else of the parameters does."""
    house = House()
    await house.service.load_model("digits_se", {"reason": f" {'why ' * 123}not? "}, CI)
    await house.service.unload_model("digits_se", {"reason": "it errs"}, CI)
    load, unload = lines_of(house)
    assert (load["reason"], "parameters" in load) == ("why " * 123 + "not?", False)
    assert (unload["reason"], unload["outcome"]) == ("it errs", "ok")


@in_virtual_time
@pytest.mark.parametrize("reason", [7, True, b"bytes", "x" * 501])
async def test_a_reason_that_cannot_be_kept_is_refused(reason: Parameter | bytes) -> None:
    """What is no text, or longer than the audit keeps, is not cut but refused, by its name."""
    house = House()
    with pytest.raises(InvalidRequestError, match="parameter 'reason'"):
        await house.service.load_model("digits_se", {"reason": reason}, CI)
    assert [line["outcome"] for line in lines_of(house)] == ["invalid"]


@in_virtual_time
async def test_inference_is_no_administrative_act() -> None:
    """The audit stays short."""
    house = House()
    await sent(house, numbered(3), CALL)
    assert lines_of(house) == []
