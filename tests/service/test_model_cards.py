"""What people are shown of the models: every version, what calls it, and what it has done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serve.core.catalog import ModelState
from serve.core.errors import NotFoundError
from serve.core.messages import ModelRef
from serve.experiments.directory import Directory
from serve.model_cards import ModelCards
from serve.repository import Entry
from serve.usage import UsageBook
from tests.experiments.gateway import ANNA, POLL_S, gateways
from tests.service.house import CALL, CARD, REF, House, request_of
from tests.service.virtual_time import in_virtual_time


@in_virtual_time
async def test_every_version_is_there_ready_or_not() -> None:
    """One that fails, one that was never ready, and a model of which no version has been seen."""
    house = House()
    second = ModelRef(name=REF.name, version="2")
    house.repository.put(Entry(ref=second, state=ModelState.UNAVAILABLE, reason="it does not start"))
    house.repository.expect("awaited", "no engine answers")
    found = house.service.cards.all()
    assert [(one.line.name, one.line.version, one.line.state.value) for one in found] == [
        (REF.name, "1", "READY"),
        (REF.name, "2", "UNAVAILABLE"),
        ("awaited", "", "UNAVAILABLE"),
    ]
    assert [one.card for one in found] == [CARD, None, None]
    assert [one.default for one in found] == [True, False, False]
    assert found[1].line.reason == "it does not start"
    assert house.service.cards.one(REF.name, "2") == found[1]


@in_virtual_time
async def test_the_default_is_the_one_that_answers() -> None:
    """The highest that is ready."""
    house = House()
    second = replace(CARD, ref=ModelRef(name=REF.name, version="2"))
    house.repository.put(Entry(ref=second.ref, state=ModelState.READY, card=second))
    assert [one.default for one in house.service.cards.all()] == [False, True]


@pytest.mark.parametrize(("name", "version"), [("nobody", "1"), (REF.name, "7"), ("awaited", "1")])
@in_virtual_time
async def test_an_unknown_version_is_named(name: str, version: str) -> None:
    """Also one of a model that is only awaited."""
    house = House()
    house.repository.expect("awaited", "no engine answers")
    with pytest.raises(NotFoundError, match=name):
        house.service.cards.one(name, version)


@in_virtual_time
async def test_use_is_counted_by_version() -> None:
    """As the statistics extension counts it."""
    house = House()
    await house.service.infer(request_of((b"a", b"b")), CALL)
    usage = house.service.cards.one(REF.name, "1").usage
    assert (usage.success.count, usage.inference_count) == (1, 2)
    assert usage == house.usage.read(REF)


async def test_aliases_are_told_of_the_version_that_their_callers_get(tmp_path: Path) -> None:
    """Of a pinned version, of a model's default, but not of an experiment, whose callers get several."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.put_alias("pinned", "digits_se:1", "test", None, ANNA)
        await gateway.desk.put_alias("newest", "digits_se", "test", None, ANNA)
        await gateway.desk.put_alias("gone", "digits_words:1", "test", None, ANNA)
        await gateway.started(alias="production")
        await gateway.passes(2 * POLL_S)
        gateway.repository.remove(ModelRef(name="digits_words", version="1"))
        directory = Directory(gateway.repository, gateway.plans)
        assert directory.aliases() == {
            ModelRef(name="digits_se", version="1"): ("pinned",),
            ModelRef(name="digits_se", version="2"): ("newest",),
        }
        cards = ModelCards(gateway.repository, directory, UsageBook())
        assert {(one.line.name, one.line.version): one.aliases for one in cards.all() if one.aliases} == {
            ("digits_se", "1"): ("pinned",),
            ("digits_se", "2"): ("newest",),
        }
        assert cards.one("digits_se", "2").aliases == ("newest",)
