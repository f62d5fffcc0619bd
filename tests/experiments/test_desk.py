"""What people do with experiments, on a real ledger."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve.core.errors import (
    ChangedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ServeError,
    UnavailableError,
)
from serve.core.experiment import State
from serve.core.record import Outcome, Receipt, Role, Said
from serve.experiments import outcomes
from serve.experiments.editing import ActRequest
from serve.experiments.outcomes import LabelRow, OutcomeItem
from serve.ledger.database import LedgerError
from tests.experiments.gateway import (
    ANNA,
    LABELS,
    PLAIN,
    POLL_S,
    TOKEN_LIFE_S,
    Gateway,
    arm,
    calls,
    design,
    gateways,
)

OTHER_LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


async def test_a_draft_is_kept_and_answers_nobody(tmp_path: Path) -> None:
    """A created experiment is a draft, version 1, with its author and reason, and every gateway reads it."""
    async with gateways(tmp_path, 2) as (here, there):
        draft = await here.desk.create(design(), "we want to know", ANNA)
        assert (draft.number, draft.state, draft.author, draft.reason) == (
            1,
            State.DRAFT,
            "anna",
            "we want to know",
        )
        await there.plans.refresh()
        assert there.desk.get("se-or-eca") == draft == there.desk.list()[0]
        assert "answers nobody" in here.desk.assign("se-or-eca", "u").sentence


async def test_the_same_create_twice_gives_the_one_that_is_there(tmp_path: Path) -> None:
    """Repeating a create changes nothing, even after later edits; another design under the name conflicts."""
    async with gateways(tmp_path) as (gateway,):
        first = await gateway.desk.create(design(), "why", ANNA)
        assert await gateway.desk.create(design(), "again", ANNA) == first
        patched = await gateway.desk.patch(first.name, {"ramp": 100}, "less", None, ANNA)
        assert await gateway.desk.create(design(), "again", ANNA) == patched
        with pytest.raises(ConflictError, match="an experiment's name already"):
            await gateway.desk.create(design(margin=0.02), "other", ANNA)
        assert len(await gateway.desk.audit(first.name)) == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"name": "digits_se"}, ConflictError, "a model's name"),
        ({"alias": "digits_eca"}, ConflictError, "a model's name"),
        (
            {"arms": [arm("se", weight=5000), arm("sk", weight=5000)]},
            InvalidRequestError,
            "known models: digits_eca",
        ),
        (
            {"arms": [arm("se", weight=5000), arm("eca", version="7", weight=5000)]},
            InvalidRequestError,
            "has no version '7'; known: 1",
        ),
        (
            {"arms": [arm("se", weight=5000), arm("words", weight=5000)]},
            InvalidRequestError,
            "different labels",
        ),
        ({"arms": [arm("se", weight=5000), arm("eca", weight=4000)]}, InvalidRequestError, "sum to 9000"),
        ({"modes": "split"}, InvalidRequestError, "modes"),
    ],
)
async def test_a_design_that_cannot_run_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[ServeError], words: str
) -> None:
    """Taken names, unknown models, foreign labels and broken designs are refused with the reason."""
    async with gateways(tmp_path) as (gateway,):
        with pytest.raises(error, match=words):
            await gateway.desk.create(design(**changes), "why", ANNA)
        assert gateway.desk.list() == ()


async def test_a_mapping_makes_labels_agree_and_a_start_captures_them(tmp_path: Path) -> None:
    """Other labels are accepted with a one-to-one mapping; the start keeps labels and translations."""
    mapping = dict(zip(OTHER_LABELS, LABELS, strict=True))
    arms = [arm("se", weight=5000), arm("words", weight=5000, labels=mapping)]
    async with gateways(tmp_path) as (gateway,):
        started = await gateway.started(arms=arms)
        assert started.labels == LABELS
        assert started.translations == (tuple(range(10)), tuple(range(10)))


async def test_experiments_of_one_layer_never_overlap(tmp_path: Path) -> None:
    """A draft holds its slots as well; an ended experiment gives them back."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.create(design(layer="web", slots=[0, 6000]), "why", ANNA)
        with pytest.raises(ConflictError, match="overlap"):
            await gateway.desk.create(design(name="second", layer="web", slots=[5000, 10000]), "why", ANNA)
        second = await gateway.desk.create(
            design(name="second", layer="web", slots=[6000, 10000]), "why", ANNA
        )
        with pytest.raises(ConflictError, match="overlap"):
            await gateway.desk.patch("second", {"slots": [0, 10000]}, "more", None, ANNA)
        await gateway.act("se-or-eca", "stop")
        wider = await gateway.desk.patch("second", {"slots": [0, 10000]}, "more", None, ANNA)
        assert (wider.number, wider.design.slots) == (second.number + 1, (0, 10000))


async def test_changes_wait_for_every_gateway_and_rollbacks_do_not(tmp_path: Path) -> None:
    """A start holds two polls later, on all gateways at once; a rollback holds here at once."""
    async with gateways(tmp_path, 2) as (here, there):
        await here.desk.create(design(), "why", ANNA)
        started = await here.act("se-or-eca", "start")
        assert started.effective_at == here.clock() + 2 * POLL_S
        await there.plans.refresh()
        for gateway in (here, there):
            assert _state(gateway) is State.DRAFT
        await here.passes(2 * POLL_S)
        await there.plans.refresh()
        for gateway in (here, there):
            assert _state(gateway) is State.RUNNING
        await here.act("se-or-eca", "pause")
        await here.act("se-or-eca", "rollback")
        assert _state(here) is State.ROLLED_BACK


async def test_a_repeated_act_changes_nothing(tmp_path: Path) -> None:
    """Each act may be sent again, also with the version that it was first sent with."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.create(design(), "why", ANNA)
        for act, asked in (
            ("start", PLAIN),
            ("ramp", replace(PLAIN, ramp=500)),
            ("pause", PLAIN),
            ("resume", PLAIN),
            ("promote", replace(PLAIN, arm="eca")),
            ("rollback", PLAIN),
        ):
            before = gateway.desk.get("se-or-eca").number
            request = replace(asked, if_match=before)
            done = await gateway.act("se-or-eca", act, request)
            assert done.number == before + 1
            assert await gateway.act("se-or-eca", act, request) == done
        with pytest.raises(ConflictError, match="not allowed while the experiment is rolled_back"):
            await gateway.act("se-or-eca", "start")


async def test_if_match_protects_what_the_caller_has_not_seen(tmp_path: Path) -> None:
    """A change that names an older version is refused; without one it is made to the newest."""
    async with gateways(tmp_path, 2) as (here, there):
        await here.desk.create(design(), "why", ANNA)
        await there.plans.refresh()
        await there.desk.patch("se-or-eca", {"description": "theirs"}, "why", 1, ANNA)
        with pytest.raises(ChangedError, match="at version 2, not at 1"):
            await here.desk.patch("se-or-eca", {"description": "ours"}, "why", 1, ANNA)
        with pytest.raises(ChangedError):
            await here.act("se-or-eca", "start", replace(PLAIN, if_match=1))
        ours = await here.desk.patch("se-or-eca", {"margin": 0.5}, "why", None, ANNA)
        assert (ours.number, ours.design.description, ours.design.margin) == (3, "theirs", 0.5)


async def test_concurrent_changes_are_all_made_in_some_order(tmp_path: Path) -> None:
    """Two gateways that change one experiment at the same time lose neither change."""
    async with gateways(tmp_path, 2) as (here, there):
        await here.desk.create(design(), "why", ANNA)
        await asyncio.gather(
            here.desk.patch("se-or-eca", {"description": "both"}, "why", None, ANNA),
            there.desk.patch("se-or-eca", {"margin": 0.5}, "why", None, ANNA),
        )
        await here.plans.refresh()
        newest = here.desk.get("se-or-eca")
        assert (newest.number, newest.design.description, newest.design.margin) == (3, "both", 0.5)


async def test_a_running_experiment_keeps_what_its_statistics_rest_on(tmp_path: Path) -> None:
    """Once started the analysis cannot change, and the weights make a new phase."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.started()
        with pytest.raises(ConflictError, match="margin: cannot change"):
            await gateway.desk.patch("se-or-eca", {"margin": 0.5}, "why", None, ANNA)
        arms = [{"name": "se", "weight": 9000}, {"name": "eca", "weight": 1000}]
        changed = await gateway.desk.patch("se-or-eca", {"arms": arms}, "less", None, ANNA)
        assert (changed.phase, changed.phases) == (1, ((5000, 5000), (9000, 1000)))


async def test_an_alias_goes_with_its_experiment(tmp_path: Path) -> None:
    """It points to the experiment while that runs, then to the winner, after a rollback to the control."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.put_alias("production", "digits_se:1", "first", None, ANNA)
        await gateway.started(alias="production")
        assert gateway.plans.current.aliases["production"] == "se-or-eca"
        with pytest.raises(ConflictError, match="belongs to the experiment 'se-or-eca'"):
            await gateway.desk.put_alias("production", "digits_eca", "no", None, ANNA)
        await gateway.act("se-or-eca", "promote", replace(PLAIN, arm="eca"))
        await gateway.passes(2 * POLL_S)
        assert gateway.plans.current.aliases["production"] == "digits_eca:1"
        await gateway.act("se-or-eca", "rollback")
        assert gateway.plans.current.aliases["production"] == "digits_se:1"


async def test_an_alias_that_points_elsewhere_is_not_taken(tmp_path: Path) -> None:
    """A start is refused where it would give the alias's callers another model than they have."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.put_alias("production", "digits_eca", "first", None, ANNA)
        await gateway.desk.create(design(alias="production"), "why", ANNA)
        with pytest.raises(ConflictError, match="points to 'digits_eca'"):
            await gateway.act("se-or-eca", "start")
        assert gateway.desk.get("se-or-eca").state is State.DRAFT


async def test_a_live_experiment_may_change_its_alias(tmp_path: Path) -> None:
    """The old alias goes back to the control, the new one comes to the experiment."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.started(alias="production")
        await gateway.desk.patch("se-or-eca", {"alias": "live"}, "renamed", None, ANNA)
        await gateway.passes(2 * POLL_S)
        assert gateway.plans.current.aliases == {"production": "digits_se:1", "live": "se-or-eca"}


@pytest.mark.parametrize(
    ("name", "target", "error", "words"),
    [
        ("digits_se", "digits_eca", ConflictError, "a model's name"),
        ("se-or-eca", "digits_eca", ConflictError, "an experiment's name"),
        ("a b", "digits_eca", InvalidRequestError, "must match"),
        ("production", "nothing", InvalidRequestError, "'nothing' is not found"),
        ("production", "digits_se:9", InvalidRequestError, "no version '9'"),
        ("production", "se-or-eca", ConflictError, "has not been started"),
    ],
)
async def test_a_misleading_alias_is_refused(
    tmp_path: Path, name: str, target: str, error: type[ServeError], words: str
) -> None:
    """An alias has a name of its own and points to something that can answer."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.desk.create(design(), "why", ANNA)
        with pytest.raises(error, match=words):
            await gateway.desk.put_alias(name, target, "why", None, ANNA)
        assert gateway.desk.aliases() == ()


async def test_aliases_have_versions_too(tmp_path: Path) -> None:
    """An alias that points there already stays; If-Match refuses who has not seen the newest one."""
    async with gateways(tmp_path) as (gateway,):
        first = await gateway.desk.put_alias("production", "digits_se", "why", 0, ANNA)
        assert await gateway.desk.put_alias("production", "digits_se", "again", None, ANNA) == first
        second = await gateway.desk.put_alias("production", "digits_eca", "why", 1, ANNA)
        assert (second.number, gateway.desk.aliases()) == (2, (second,))
        with pytest.raises(ChangedError, match="at version 2, not at 1"):
            await gateway.desk.put_alias("production", "digits_se", "why", 1, ANNA)


async def test_outcomes_are_judged_one_by_one(tmp_path: Path) -> None:
    """Each outcome has its own receipt, whatever the others of its call are."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        other = await gateway.started(name="other")
        old = gateway.token(experiment, "a" * 32, "1" * 32)
        gateway.clock.now += TOKEN_LIFE_S + 1
        token = gateway.token(experiment, "b" * 32, "2" * 32, images=2)
        foreign = gateway.token(other, "c" * 32, "3" * 32)
        items = [
            OutcomeItem(feedback_token=token, label="3"),
            OutcomeItem(feedback_token=token, label="3"),
            OutcomeItem(feedback_token=token, label="4"),
            OutcomeItem(feedback_token=token, label="4", item=1),
            OutcomeItem(feedback_token=token, label="4", item=2),
            OutcomeItem(feedback_token=token, label="cat"),
            OutcomeItem(feedback_token=old, label="3"),
            OutcomeItem(feedback_token=foreign, label="3"),
            OutcomeItem(feedback_token=token[:-2] + "AA", label="3"),
        ]
        answers = await gateway.desk.outcomes("se-or-eca", items, ANNA)
        assert [receipt.value for receipt, _ in answers] == [
            "accepted",
            "duplicate",
            "conflict",
            "accepted",
            "invalid",
            "invalid",
            "too_late",
            "unknown_token",
            "unknown_token",
        ]
        assert [bool(why) for _, why in answers] == [receipt != "accepted" for receipt, _ in answers]


async def test_concurrent_outcomes_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that arrive together are written together, and each gets its own receipts."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        sizes: list[int] = []
        write = gateway.ledger.records.outcomes

        def counted(batch: list[Outcome]) -> list[Receipt]:
            sizes.append(len(batch))
            return write(batch)

        monkeypatch.setattr(gateway.ledger.records, "outcomes", counted)
        tokens = [gateway.token(experiment, f"{number:032x}", f"{number:032x}") for number in range(50)]
        told = await asyncio.gather(
            *(
                gateway.desk.outcomes("se-or-eca", [OutcomeItem(feedback_token=token, label="3")] * 2, ANNA)
                for token in tokens
            )
        )
        assert all([receipt.value for receipt, _ in one] == ["accepted", "duplicate"] for one in told)
        assert sizes == [100]


async def test_a_caller_who_goes_takes_nothing_along(tmp_path: Path) -> None:
    """Labels of one who does not wait are written as well, and the others have their receipts."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        items = [
            OutcomeItem(feedback_token=gateway.token(experiment, f"{number:032x}", "1" * 32), label="3")
            for number in range(2)
        ]
        gone = asyncio.create_task(gateway.desk.outcomes("se-or-eca", items[:1], ANNA))
        stays = asyncio.create_task(gateway.desk.outcomes("se-or-eca", items[1:], ANNA))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == [(Receipt.ACCEPTED, "")]
        again = await gateway.desk.outcomes("se-or-eca", items[:1], ANNA)
        assert [receipt for receipt, _ in again] == [Receipt.DUPLICATE]


async def test_outcomes_that_pile_up_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would wait behind too many others is refused at once, and may be told again later."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        monkeypatch.setattr(outcomes, "MOST_WAITING", 3)
        item = OutcomeItem(feedback_token=gateway.token(experiment, "a" * 32, "1" * 32), label="3")
        first = asyncio.create_task(gateway.desk.outcomes("se-or-eca", [item] * 3, ANNA))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="3 wait already"):
            await gateway.desk.outcomes("se-or-eca", [item], ANNA)
        await first
        assert len(await gateway.desk.outcomes("se-or-eca", [item], ANNA)) == 1


async def test_nothing_is_accepted_while_the_store_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes and changes are unavailable, what is known stays readable, and all works afterwards."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        item = OutcomeItem(feedback_token=gateway.token(experiment, "a" * 32, "1" * 32), label="3")

        def down(*_: object) -> None:
            raise LedgerError

        with monkeypatch.context() as patch:
            patch.setattr(gateway.ledger.records, "outcomes", down)
            patch.setattr(gateway.ledger.versions, "since", down)
            told = [gateway.desk.outcomes("se-or-eca", [item], ANNA) for _ in range(3)]
            for result in await asyncio.gather(*told, return_exceptions=True):
                assert isinstance(result, UnavailableError)
            with pytest.raises(UnavailableError):
                await gateway.act("se-or-eca", "pause")
            assert gateway.desk.get("se-or-eca") == experiment
        answers = await gateway.desk.outcomes("se-or-eca", [item], ANNA)
        assert answers == [(Receipt.ACCEPTED, "")]
        assert (await gateway.act("se-or-eca", "pause")).state is State.PAUSED


async def test_operators_label_by_prediction(tmp_path: Path) -> None:
    """A label for a recorded prediction counts; what cannot be one is refused with the reason."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        records = calls(experiment, 0, 1)
        gateway.ledger.records.write(records, [])
        rows = [
            LabelRow(prediction=records[0].prediction, label="0"),
            LabelRow(prediction="f" * 32, label="0"),
            LabelRow(prediction="F" * 32, label="0"),
            LabelRow(prediction=records[0].prediction, label="0", item=-1),
        ]
        answers = await gateway.desk.labels("se-or-eca", rows, ANNA)
        assert [receipt.value for receipt, _ in answers] == [
            "accepted",
            "unknown_token",
            "invalid",
            "invalid",
        ]
        pairs = [row async for row in await gateway.desk.pairs("se-or-eca")]
        assert [(row.prediction, row.label) for row in pairs] == [(records[0].prediction, "0")]


async def test_a_plan_needs_no_models_and_keeps_nothing(tmp_path: Path) -> None:
    """The size of a design is told before anything is there; with the traffic also how long it takes."""
    async with gateways(tmp_path) as (gateway,):
        arms = [arm("new", weight=5000), arm("newer", weight=5000)]
        plan = await gateway.desk.plan(design(arms=arms), 1000.0)
        assert plan.units is not None
        assert plan.days == plan.units / 1000.0
        assert (await gateway.desk.plan(design(arms=arms), None)).days is None
        with pytest.raises(InvalidRequestError, match="sum to 5000"):
            await gateway.desk.plan(design(arms=[arm("se", weight=5000), arm("eca", weight=0)]), None)
        assert gateway.desk.list() == ()


async def test_disagreements_and_their_images_are_told(tmp_path: Path) -> None:
    """Images on which the arms differ are listed, if so asked those without a label, and their bytes kept."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(mode="paired", keep_images={"max_images": 10, "days": 1})
        control = replace(calls(experiment, 0, 1)[0], prediction="a" * 32, unit="1" * 32)
        other = replace(
            control, arm=1, role=Role.MIRROR, answers=(Said(top1=7, confidence=6000),), images=(b"a 3",)
        )
        gateway.ledger.records.write([control, other])
        found = [row async for row in await gateway.desk.disagreements("se-or-eca", unlabelled_only=True)]
        assert [(row.prediction, row.said, row.image_kept) for row in found] == [("a" * 32, ("0", "7"), True)]
        assert await gateway.desk.image("se-or-eca", "a" * 32, 0) == b"a 3"
        await gateway.desk.labels("se-or-eca", [LabelRow(prediction="a" * 32, label="7")], ANNA)
        left = [row async for row in await gateway.desk.disagreements("se-or-eca", unlabelled_only=True)]
        assert left == []


async def test_a_report_tells_the_figures_the_looks_and_the_history(tmp_path: Path) -> None:
    """The full report is JSON with all its parts, and is computed anew only when something was written."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        gateway.ledger.records.write(calls(experiment, 0, 30) + calls(experiment, 1, 30), [])
        await gateway.poll()
        full = await gateway.desk.report("se-or-eca")
        document = json.loads(json.dumps(full.to_json(), allow_nan=False))
        assert document["report"]["verdict"] == "insufficient_data"
        assert [version["act"] for version in document["history"]] == ["create", "start"]
        assert len(document["looks"]) == 1
        assert (await gateway.desk.report("se-or-eca")).report is full.report
        gateway.ledger.records.write(calls(experiment, 1, 31), [])
        assert (await gateway.desk.report("se-or-eca")).report is not full.report


@pytest.mark.slow
async def test_a_report_is_drawn_as_a_page(tmp_path: Path) -> None:
    """What the desk gives is what the page is drawn from: name, arms, acts and authors stand there."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        gateway.ledger.records.write(calls(experiment, 0, 300) + calls(experiment, 1, 300))
        await gateway.poll()
        page = (await gateway.desk.report_html("se-or-eca")).decode()
        assert page.startswith("<!DOCTYPE html>")
        for shown in ("se-or-eca", "digits_eca", "start", "anna"):
            assert shown in page


async def test_unknown_names_are_not_found(tmp_path: Path) -> None:
    """Whatever is asked of an experiment that is not there, the answer names it."""
    async with gateways(tmp_path) as (gateway,):
        desk = gateway.desk
        for asked in (
            desk.patch("nothing", {}, "why", None, ANNA),
            desk.act("nothing", "start", ActRequest(reason="why"), ANNA),
            desk.report("nothing"),
            desk.audit("nothing"),
            desk.outcomes("nothing", [], ANNA),
            desk.pairs("nothing"),
            desk.image("nothing", "a" * 32, 0),
        ):
            with pytest.raises(NotFoundError, match="'nothing' is not found"):
                await asked


async def test_every_act_is_taken_down(tmp_path: Path) -> None:
    """The audit has a line for each act, refused ones too, with who did it and why."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.started()
        with pytest.raises(InvalidRequestError):
            await gateway.act("se-or-eca", "resume", ActRequest(reason="by mistake", ramp=1))
        gateway.audit.close()
        lines = [json.loads(line) for line in gateway.lines]
        shown = [(line["act"], line["principal"], line["reason"], line["outcome"]) for line in lines]
        assert shown == [
            ("create_experiment", "anna", "test", "ok"),
            ("start_experiment", "anna", "test", "ok"),
            ("resume_experiment", "anna", "by mistake", "invalid"),
        ]


def _state(gateway: Gateway) -> State:
    return gateway.plans.current.experiments["se-or-eca"].state
