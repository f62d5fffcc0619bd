"""Trials: who answers a request to an experiment, who else sees the image, and what is written down."""

from __future__ import annotations

import asyncio

import pytest

from serve.core.assignment import Assigner
from serve.core.call import Call
from serve.core.errors import (
    DeadlineError,
    DrainingError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    OverQuotaError,
    ServeError,
)
from serve.core.experiment import KeepImages, Mode, Override, State
from serve.core.record import Role
from serve.engines.fake import Pace, class_of
from serve.engines.pool import PoolOptions
from serve.experiments.case import falls_back, is_failure, unit_of
from serve.experiments.plans import Standing
from serve.experiments.trials import check_callable
from serve.inference import Progress
from tests.experiments.trial_house import (
    ARM,
    OTHER,
    SAME,
    TrialHouse,
    design_of,
    hashed,
    running,
    unit_for,
)
from tests.service.house import CALL, CARD, numbered, request_of
from tests.service.virtual_time import clock, in_virtual_time, settle

LOST = EngineError("the worker died", reason="lost")
ONE_ATTEMPT = PoolOptions(attempts=1)


@in_virtual_time
async def test_split_gives_a_unit_its_arm_and_says_so() -> None:
    """The reply names experiment, arm, reason and a token; the record says the same."""
    house, experiment = TrialHouse(), running(design_of())
    for index, (name, ref) in enumerate((("se", CARD.ref), ("eca", ARM.ref))):
        unit = unit_for(experiment, index)
        response = await house.infer(experiment, unit)
        assert (response.model, response.version) == (ref.name, ref.version)
        told = dict(response.parameters)
        ticket = house.tokens().read(str(told.pop("feedback_token")))
        assert told == {"experiment": "trial", "arm": name, "assignment": "hash", "experiment_version": 2}
        (record,) = (await house.written())[index:]
        assert (record.arm, record.role, record.unit) == (index, Role.SERVED, hashed(unit))
        assert (record.outcome, record.failed, record.latency_us) == ("ok", False, 1_000_000)
        assert (ticket.prediction, ticket.unit, ticket.answers) == (
            record.prediction,
            record.unit,
            record.answers,
        )
        assert [one.top1 for one in record.answers if one] == [class_of(b"a", 10)]
        assert [one.confidence for one in record.answers if one] == [9000]
    assert house.asked_of_arms() == {"se hash ok": 1.0, "eca hash ok": 1.0}


@in_virtual_time
async def test_a_request_without_a_unit_is_a_unit_of_its_own() -> None:
    """The reply says that it is not sticky; each such request is another unit."""
    house, experiment = TrialHouse(), running(design_of())
    replies = [await house.infer(experiment, None) for _ in range(3)]
    assert all(reply.parameters["sticky"] is False for reply in replies)
    assert len({record.unit for record in await house.written()}) == 3


@in_virtual_time
async def test_the_header_names_the_unit_where_the_parameter_does_not() -> None:
    """The parameter `unit` comes first, then x-unit-id."""
    house, experiment = TrialHouse(), running(design_of(Mode.SHADOW))
    call = Call(protocol="http", unit="from the header")
    standing = Standing(experiment, Assigner(experiment))
    await house.trials.infer(standing, request_of((b"a",), model="trial"), call, Progress(started=clock()))
    await house.infer(experiment, "from the parameter")
    await asyncio.sleep(5)
    units = {record.unit for record in await house.written()}
    assert units == {hashed("from the header"), hashed("from the parameter")}


@pytest.mark.parametrize("unit", ["", "u" * 513, True, 0.5])
def test_a_unit_that_is_none_is_refused(unit: str | bool | float) -> None:
    """Empty, too long, or no text."""
    with pytest.raises(InvalidRequestError, match="parameter 'unit'"):
        unit_of(request_of((b"a",), parameters={"unit": unit}), CALL)


@in_virtual_time
async def test_who_is_not_enrolled_gets_the_control_and_is_not_written_down() -> None:
    """Outside the ramp, held out, paused or over: the assignment says which, and there is no token."""
    house = TrialHouse()
    ramped = running(design_of(ramp=0))
    held = running(design_of(holdout=10_000))
    over = running(design_of(), state=State.PAUSED)
    back = running(design_of(), state=State.ROLLED_BACK)
    for experiment, why in ((ramped, "single"), (held, "holdout"), (over, "single"), (back, "single")):
        response = await house.infer(experiment)
        assert (response.model, response.parameters["assignment"]) == (CARD.ref.name, why)
        assert "feedback_token" not in response.parameters
    assert await house.written() == []


@in_virtual_time
async def test_after_promotion_the_winner_answers() -> None:
    """Clients keep calling the experiment's name."""
    house = TrialHouse()
    response = await house.infer(running(design_of(), state=State.PROMOTED, winner=1))
    assert (response.model, response.parameters["arm"]) == (ARM.ref.name, "eca")


@in_virtual_time
async def test_an_override_is_obeyed_and_left_out() -> None:
    """It answers with its arm; nothing is written down."""
    override = Override(unit="boss", arm="eca", reason="wants to see it")
    house, experiment = TrialHouse(), running(design_of(overrides=(override,)))
    response = await house.infer(experiment, "boss")
    assert (response.model, response.parameters["assignment"]) == (ARM.ref.name, "override")
    assert await house.written() == []


@in_virtual_time
async def test_an_arm_that_fails_is_answered_for_by_the_control_and_does_not_hide() -> None:
    """The caller gets the control's answer without a token; the arm's failure is written down and counted."""
    house, experiment = TrialHouse(pool_options=ONE_ATTEMPT), running(design_of())
    house.arm_engine.fail_next(LOST)
    response = await house.infer(experiment, unit_for(experiment, 1))
    assert (response.model, response.parameters["arm"]) == (CARD.ref.name, "se")
    assert response.parameters["assignment"] == "fallback"
    assert "feedback_token" not in response.parameters
    (record,) = await house.written()
    assert (record.arm, record.outcome, record.failed, record.answers) == (1, "unavailable", True, ())
    assert house.asked_of_arms() == {"eca fallback unavailable": 1.0}


@in_virtual_time
async def test_a_retry_does_not_hide_a_failed_attempt() -> None:
    """The second attempt answers, and the call counts as a failure of its arm all the same."""
    house, experiment = TrialHouse(), running(design_of())
    house.arm_engine.fail_next(LOST)
    response = await house.infer(experiment, unit_for(experiment, 1))
    assert response.parameters["assignment"] == "hash"
    (record,) = await house.written()
    assert (record.outcome, record.failed) == ("ok", True)


@in_virtual_time
async def test_a_failed_attempt_is_one_failure_however_many_requests_shared_it() -> None:
    """A batch of three requests is tried again: one of their records carries it."""
    house, experiment = TrialHouse(), running(design_of())
    unit = unit_for(experiment, 1)
    busy = asyncio.create_task(house.infer(experiment, unit))
    await settle()
    others = [asyncio.create_task(house.infer(experiment, unit, (image,))) for image in numbered(3)]
    await busy
    house.arm_engine.fail_next(LOST)
    await asyncio.gather(*others)
    assert sorted(record.failed for record in await house.written()) == [False, False, False, True]


@in_virtual_time
async def test_what_the_caller_got_wrong_is_no_arms_error() -> None:
    """A bad image, a bad parameter, a used-up quota: refused without a record and without a fallback."""
    house, experiment = TrialHouse(), running(design_of())
    unit = unit_for(experiment, 1)
    with pytest.raises(InvalidRequestError):
        await house.infer(experiment, unit, (b"BAD",))
    with pytest.raises(InvalidRequestError):
        await house.infer(experiment, unit, priority=-1)
    house.limits_of["anonymous"] = 1.0
    burst = numbered(5)
    await house.infer(experiment, unit, burst)
    with pytest.raises(OverQuotaError):
        await house.infer(experiment, unit, burst)
    (record,) = await house.written()
    assert record.failed is False


@in_virtual_time
async def test_a_bad_image_of_several_leaves_the_others_in_the_comparison() -> None:
    """With `partial` its answer is None, in the record and in the token."""
    house, experiment = TrialHouse(), running(design_of())
    await house.infer(experiment, "u", (b"a", b"BAD", b"c"), partial=True)
    (record,) = await house.written()
    assert [one and one.top1 for one in record.answers] == [class_of(b"a", 10), None, class_of(b"c", 10)]
    assert record.failed is False


@in_virtual_time
async def test_shadow_mirrors_after_the_answer_and_compares() -> None:
    """The caller waits for the control alone; the arm's record shares the prediction's name."""
    house, experiment = TrialHouse(), running(design_of(Mode.SHADOW), translation=OTHER)
    response = await house.infer(experiment)
    assert (clock(), response.parameters["arm"]) == (1.0, "se")
    await asyncio.sleep(2)
    served, mirrored = await house.written()
    assert (served.role, mirrored.role) == (Role.SERVED, Role.MIRROR)
    assert served.prediction == mirrored.prediction
    assert house.sample("attnserve_experiment_agreement_total", experiment="trial", agrees="false") == 1
    assert mirrored.images == ()


@in_virtual_time
async def test_images_are_kept_only_when_asked_for_and_only_where_arms_differ() -> None:
    """The mirrored call's record carries them then."""
    house = TrialHouse()
    keeping = design_of(Mode.SHADOW, keep_images=KeepImages())
    for translation, kept in ((OTHER, (b"a",)), (SAME, ())):
        await house.infer(running(keeping, translation=translation))
        await asyncio.sleep(3)
        assert (await house.written())[-1].images == kept


@in_virtual_time
async def test_paired_calls_arms_at_once_and_in_random_order() -> None:
    """Both engines begin in the same moment; over many requests either is first about equally often."""
    house, experiment = TrialHouse(), running(design_of(Mode.PAIRED))
    begun: list[str] = []
    for engine in (house.engine, house.arm_engine):
        seen = engine.predict

        async def predict(*args: object, _name: str = engine.name, _seen: object = seen) -> object:
            begun.append(_name)
            return await _seen(*args)  # type: ignore[operator]

        engine.predict = predict  # type: ignore[method-assign,assignment]
    for _ in range(100):
        started = clock()
        await house.infer(experiment)
        assert clock() - started == 1.0
        await settle()
    assert len(begun) == 200
    assert 25 <= begun[::2].count("arm") <= 75


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.PAIRED])
@in_virtual_time
async def test_a_mirror_that_hangs_fails_or_is_slow_costs_the_caller_nothing(mode: Mode) -> None:
    """No time and no error; what it cannot do is counted as failed or as dropped."""
    house, experiment = TrialHouse(max_mirrors=4), running(design_of(mode))
    house.arm_engine.hang()
    for number in range(10):
        started = clock()
        await house.infer(experiment, f"u{number}")
        assert clock() - started == 1.0
    dropped = house.sample("attnserve_experiment_dropped_total", experiment="trial", arm="eca", what="mirror")
    assert dropped >= 5
    await asyncio.sleep(60)
    house.arm_engine.wake()
    await asyncio.sleep(60)
    failed = [record for record in await house.written() if record.role is Role.MIRROR]
    assert failed
    assert all(record.failed for record in failed)


@in_virtual_time
async def test_only_a_sample_of_the_requests_is_mirrored() -> None:
    """`sample` is in 1/10 000; the others are answered by the control alone, and written down."""
    house, experiment = TrialHouse(pace=Pace(), arm_pace=Pace()), running(design_of(Mode.SHADOW, sample=3000))
    for number in range(200):
        await house.infer(experiment, f"u{number}")
        await settle()
    roles = [record.role for record in await house.written()]
    assert roles.count(Role.SERVED) == 200
    assert 30 <= roles.count(Role.MIRROR) <= 90


@in_virtual_time
async def test_when_the_control_cannot_answer_the_mirrored_call_still_counts() -> None:
    """Both failed or one: each arm's call is written down, and there is nothing to compare."""
    house = TrialHouse(pool_options=ONE_ATTEMPT)
    house.engine.fail_next(LOST)
    with pytest.raises(ServeError):
        await house.infer(running(design_of(Mode.PAIRED)))
    await asyncio.sleep(5)
    assert {(record.arm, record.failed) for record in await house.written()} == {(0, True), (1, False)}


@in_virtual_time
async def test_a_caller_who_leaves_leaves_no_trace_in_the_comparison() -> None:
    """Neither arm's call is written down, and nothing keeps running."""
    house, experiment = TrialHouse(), running(design_of(Mode.PAIRED))
    asked = asyncio.create_task(house.infer(experiment))
    await asyncio.sleep(0.5)
    asked.cancel()
    await asyncio.sleep(5)
    assert await house.written() == []


@in_virtual_time
async def test_mirrored_images_wait_behind_callers_of_the_same_model() -> None:
    """In an A/A on one version a caller never shares a batch with, nor waits for, mirrored images."""
    arms = design_of(Mode.SHADOW).arms
    same = (arms[0], arms[0].model_copy(update={"name": "again"}))
    house, experiment = TrialHouse(), running(design_of(Mode.SHADOW).model_copy(update={"arms": same}))
    await house.infer(experiment)  # its mirrored call begins now, and takes until 2.0
    asked = [house.infer(experiment, f"u{n}", (image,)) for n, image in enumerate(numbered(3))]
    await asyncio.gather(*asked)
    assert clock() == 3.0  # one batch that had begun, then the three together
    await asyncio.sleep(20)
    assert [record.role for record in await house.written()].count(Role.MIRROR) == 4


def test_a_draft_cannot_be_called_nor_a_version_of_an_experiment() -> None:
    """Both are not there, and the message says what is."""
    with pytest.raises(NotFoundError, match="'trial' has not been started"):
        check_callable(running(design_of(), state=State.DRAFT))
    with pytest.raises(NotFoundError, match="has no versions to choose, got '3'"):
        check_callable(running(design_of()), "3")


@in_virtual_time
async def test_what_the_control_fails_on_the_other_arms_still_see_in_shadow_mode() -> None:
    """A request that every engine fails on counts against all arms, not only against the one asked first."""
    house = TrialHouse(pool_options=ONE_ATTEMPT)
    house.engine.fail_next(LOST)
    house.arm_engine.fail_next(LOST)
    with pytest.raises(ServeError):
        await house.infer(running(design_of(Mode.SHADOW)))
    await asyncio.sleep(5)
    assert {(record.arm, record.failed) for record in await house.written()} == {(0, True), (1, True)}


@pytest.mark.parametrize(("mode", "counts"), [(Mode.SPLIT, True), (Mode.SHADOW, False), (Mode.PAIRED, False)])
def test_a_full_queue_counts_only_where_all_arms_queue_alike(mode: Mode, *, counts: bool) -> None:
    """Mirrored calls are shed first, so that beside them the control's shed calls do not count either."""
    assert is_failure(OverloadedError("full"), mode) is counts
    assert is_failure(DeadlineError("late", begun=True, waited=0.9), mode) is counts
    assert is_failure(DeadlineError("late", begun=True, waited=0.1), mode) is True
    assert is_failure(DeadlineError("late"), mode) is False


@in_virtual_time
async def test_a_gateway_that_ends_is_no_arms_failure() -> None:
    """What it ends for that is not written down; mirrored calls that it gives up are counted as dropped."""
    house, experiment = TrialHouse(), running(design_of(Mode.SHADOW))
    await house.infer(experiment)
    await settle()
    await house.trials.close()
    await asyncio.sleep(20)  # the engine's batch goes on
    await house.recorder.flush()
    assert [(drop.arm, drop.what, drop.count) for drop in house.records.drops] == [(1, "mirror", 1)]
    for mode in Mode:
        assert not is_failure(DrainingError("the server is shutting down"), mode)
    assert not falls_back(DrainingError("the server is shutting down"))


@in_virtual_time
async def test_requests_that_come_at_once_get_no_more_room_than_there_is() -> None:
    """However many are answered in the same moment, at most `max_mirrors` are mirrored at a time."""
    house, experiment = TrialHouse(max_mirrors=2), running(design_of(Mode.SHADOW))
    await asyncio.gather(*(house.infer(experiment, f"u{n}") for n in range(10)))
    await asyncio.sleep(20)
    written = await house.written()
    assert [record.role for record in written].count(Role.MIRROR) == 2
    assert sum(drop.count for drop in house.records.drops) == 8


@in_virtual_time
async def test_calls_that_outlive_their_experiment_make_no_series() -> None:
    """Neither the caller's nor the mirrored one; both are still written down."""
    house, experiment = TrialHouse(), running(design_of(Mode.PAIRED))
    asked = asyncio.create_task(house.infer(experiment))
    await asyncio.sleep(0.5)
    house.experiment_metrics.forget_experiment(experiment.name)
    await asked
    await asyncio.sleep(5)
    assert len(await house.written()) == 2
    samples = [sample for metric in house.registry.collect() for sample in metric.samples]
    assert [sample for sample in samples if "experiment" in sample.labels] == []
