"""The list of experiments, the form of a new one with its plan, and what can be done to one, and by whom."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml
from playwright.sync_api import Locator, Page, Route, expect

from serve.core.experiment import State
from serve.core.lifecycle import WAYS, Act
from tests.page.axe import axe
from tests.page.browsing import NARROW, OpenPage, Watch
from tests.page.caller import Caller
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.handing import walk_to

Json = dict[str, Any]

PLAN = "/v1/experiments:plan"
NEW = "experiments/new"
WHY = "the <b>tests</b> want it"


@pytest.fixture
def form(page: Page, gateway: FakeGateway) -> Locator:
    """The form, opened, with its models chosen."""
    page.goto(f"{gateway.http}/#/{NEW}")
    found = page.get_by_role("form", name="The design")
    expect(arm(found, "Control").get_by_label("Called")).not_to_have_value("")
    return found


def arm(form: Locator, role: str) -> Locator:
    """The fields of an arm."""
    return form.get_by_role("group", name=role, exact=True)


def plan_of(page: Page) -> Locator:
    """The plan beside the form."""
    return page.get_by_role("complementary", name="What it would need")


def shown_yaml(page: Page) -> Json:
    """The design that is offered to be copied."""
    found = yaml.safe_load(page.get_by_role("region", name="The design as YAML").inner_text())
    assert isinstance(found, dict)
    return found


def made(gateway: FakeGateway, name: str, *acts: str, **more: object) -> str:
    """Make an experiment by the API."""
    arms = [{"name": one, "model": f"digits_{one}", "version": "1", "weight": 5000} for one in ("se", "eca")]
    design = {"name": name, "mode": "paired", "arms": arms, "reason": WHY, **more}
    with Caller.to(gateway.http) as caller:
        caller.send("POST", "/v1/experiments", design)
        for act in acts:
            caller.send("POST", f"/v1/experiments/{name}:{act}", {"reason": WHY})
    return name


def known(gateway: FakeGateway, name: str) -> Json:
    """What the API says of an experiment."""
    with Caller.to(gateway.http) as caller:
        return caller.get(f"/v1/experiments/{name}")


def listed(page: Page, name: str) -> Locator:
    """An experiment in the list."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("link", name=name, exact=True))


def open_acts(page: Page, name: str) -> Locator:
    """Show what can be done to an experiment of the list."""
    listed(page, name).get_by_role("button", name="Change").click()
    return listed(page, name).get_by_role("group", name=f"What can be done to {name}")


def test_an_experiment_is_made_and_started_by_keyboard(
    page: Page, form: Locator, gateway: FakeGateway
) -> None:
    """Name, reason, a confirmation: what runs is the design that the page showed as YAML."""
    name, keys = "by-keyboard", page.keyboard
    walk_to(page, form.get_by_label("Name", exact=True))
    keys.type(name)
    walk_to(page, form.get_by_label("Description"))
    keys.type("Is it: # {true}?")
    walk_to(page, form.get_by_label("Reason"))
    keys.type(WHY)
    design = shown_yaml(page)
    walk_to(page, form.get_by_role("button", name="Create and start"))
    keys.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("100 % of the units take part")
    walk_to(page, dialog.get_by_role("button", name="Create and start"))
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    running = known(gateway, name)
    assert (running["state"], running["reason"]) == ("running", WHY)
    assert {key: running[key] for key in design if key not in {"arms", "guardrails"}} == {
        key: value for key, value in design.items() if key not in {"arms", "guardrails"}
    }
    assert [{**one, "labels": {}} for one in design["arms"]] == running["arms"]
    assert [{"threshold_ms": None, **one} for one in design["guardrails"]] == running["guardrails"]


def test_all_that_a_design_can_say(page: Page, form: Locator, gateway: FakeGateway) -> None:
    """Every field of the form arrives in the experiment, in the gateway's units."""
    form.get_by_label("Name", exact=True).fill("all-of-it")
    form.get_by_role("button", name="Add an arm").click()
    arm(form, "Arm 3").get_by_label("Model and version").select_option(label="digits_se version 2")
    assert [
        arm(form, role).get_by_label("Weight").input_value() for role in ("Control", "Arm 2", "Arm 3")
    ] == [
        "33.34",
        "33.33",
        "33.33",
    ]
    form.get_by_label("Ramp").fill("12.34")
    form.get_by_label("Sample").fill("50")
    form.get_by_label("Margin").fill("0.7")
    form.get_by_label("Alpha").fill("1")
    form.get_by_label("Planned units").fill("2500")
    form.get_by_role("button", name="Add a guardrail").click()
    form.get_by_label("Slow from").fill("80")
    form.get_by_label("Keep images on which the arms disagree").check()
    form.get_by_label("For (days)").fill("0.5")
    form.get_by_label("Alias").fill("all-of-its-alias")
    form.get_by_label("Promote when better").check()
    form.get_by_text("Layer, holdout, pairs").click()
    form.get_by_label("Layer").fill("everything")
    form.get_by_label("Slots up to").fill("40")
    form.get_by_label("Holdout").fill("0.5")
    form.get_by_label("Pairs that count").select_option(label="All images, counted by unit")
    form.get_by_label("Reason").fill(WHY)
    form.get_by_role("button", name="Create a draft").click()
    expect(page.get_by_role("heading", level=1, name="all-of-it")).to_be_visible()
    draft = known(gateway, "all-of-it")
    wanted = {
        "state": "draft",
        "ramp": 1234,
        "sample": 5000,
        "margin": 0.007,
        "alpha": 0.01,
        "planned_units": 2500,
        "keep_images": {"max_images": 100, "days": 0.5},
        "alias": "all-of-its-alias",
        "promote_when_better": True,
        "layer": "everything",
        "slots": [0, 4000],
        "holdout": 50,
        "pairs": "all",
    }
    assert {key: draft[key] for key in wanted} == wanted
    assert [one["weight"] for one in draft["arms"]] == [3334, 3333, 3333]
    assert len({one["name"] for one in draft["arms"]}) == 3
    assert [(one["metric"], one["threshold_ms"]) for one in draft["guardrails"]] == [
        ("error_rate", None),
        ("slo_exceedance", 80),
    ]


TEXTS = (
    "true",
    "no",
    "1e3",
    "a: b # c",
    "- {x}",
    '"\\n\\',
    "'&*!|>%@`",
    "\u2028\u0085\ufeff-\ufffe",
    "Zo\u00eb \U0001f600",
)


def test_any_text_is_copied_as_yaml(page: Page, form: Locator) -> None:
    """Whatever is written in it, the design that is copied reads as it was written."""
    for text in TEXTS:
        form.get_by_label("Description").fill(f"x{text}x")
        assert shown_yaml(page)["description"] == f"x{text}x"
        form.get_by_label("Alias").fill(f"{text}.")
        assert shown_yaml(page)["alias"] == f"{text}.".strip("\u2028\ufeff")  # as JavaScript trims


CHANGES: Sequence[tuple[str, Mapping[str, str]]] = (
    ("Paired", {"Margin": "2", "Alpha": "1"}),
    ("Split", {"Margin": "2", "Planned units": "50000", "Ramp": "50"}),
    ("Shadow", {"Margin": "0.5"}),
)


def test_the_plan_is_the_gateways(page: Page, form: Locator, gateway: FakeGateway) -> None:
    """Sample, days and effect are those that the API gives for the same design; they follow what is typed."""
    plan = plan_of(page)
    plan.get_by_label("Units a day").fill("1500")
    with Caller.to(gateway.http) as caller:
        for mode, fields in CHANGES:
            form.get_by_role("radio", name=mode).check()
            for label, value in fields.items():
                form.get_by_label(label).fill(value)
            asked = {**shown_yaml(page), "name": "unnamed"}
            said = caller.send("POST", f"{PLAN}?units_per_day=1500", asked)
            units = plan.locator("dl.tile").filter(has_text="Needed sample").locator(".value")
            expect(units).to_have_text(f"{said['units']:,} units")
            for row, (units_key, days_key) in {
                "looking at any time": ("units", "days"),
                "with a single look at the end": ("units_fixed", "days_fixed"),
                "with the planned units": ("planned_units", "planned_days"),
            }.items():
                cells = plan.get_by_role("row", name=row).get_by_role("cell")
                expect(cells.nth(1)).to_have_text(f"{said[units_key]:,}")
                expect(cells.nth(2)).to_have_text(f"{round(said[days_key], 1):,g} days")
            expect(plan).to_contain_text(said["sentences"][0])


def test_the_traffic_of_the_chosen_models_makes_days(page: Page, gateway: FakeGateway) -> None:
    """What v1/live has seen of them, times all processes, is a day's units; nothing seen is said so."""
    page.route("**/v1/live", lambda route: route.fulfill(json=live([3.0, 1.0] * 30, processes=2)))
    page.goto(f"{gateway.http}/#/{NEW}?models=digits_se,digits_plain")
    units = plan_of(page).get_by_label("Units a day")
    expect(units).to_have_value("346000")  # (3 + 1) / 2 a second, 2 processes, 86,400 s; three digits
    expect(plan_of(page)).to_contain_text(
        "240 requests to digits_se and digits_plain that this gateway, which is one of 2 processes alike"
    )
    expect(plan_of(page)).to_contain_text("at 346,000 enrolled units a day")
    units.fill("100")
    expect(plan_of(page)).to_contain_text("at 100 enrolled units a day")
    plan_of(page).get_by_role("button", name="Take the present traffic").click()
    expect(units).to_have_value("346000")

    page.route("**/v1/live", lambda route: route.fulfill(json=live([0.0] * 60)))
    page.reload()
    expect(plan_of(page)).to_contain_text("No traffic to digits_se and digits_plain has been seen yet.")
    expect(units).to_have_value("")
    expect(plan_of(page).get_by_text("give the units a day")).to_be_visible()


def live(rates: Sequence[float], processes: int = 1) -> Json:
    """What v1/live answers after so many points of 2 s; beside the model that is asked about, another."""
    return {
        "every_s": 2.0,
        "process": {"index": 1, "of": processes},
        "engines": [],
        "points": [
            {
                "n": number,
                "at": time.time(),
                "models": {"digits_se": {"requests_s": rate}, "digits_sk": {"requests_s": 1e3}},
                "arms": {},
            }
            for number, rate in enumerate(rates)
        ],
    }


def test_wrong_input_is_named_at_its_field(
    page: Page, form: Locator, gateway: FakeGateway, watch: Watch
) -> None:
    """The gateway's sentence stands at the field that it names, which gets the focus; nothing is made."""
    watch.allow("^answer: 40[09] to POST .*/v1/experiments")
    name, ramp = form.get_by_label("Name", exact=True), form.get_by_label("Ramp")
    form.get_by_role("button", name="Create a draft").click()
    expect(form.get_by_role("alert")).to_contain_text("2 fields lack a value")
    expect(name).to_be_focused()
    expect(name).to_have_accessible_description(re.compile(r"Give it a name\.$"))

    name.fill("digits_se")
    form.get_by_label("Reason").fill(WHY)
    ramp.fill("120")
    expect(plan_of(page)).to_contain_text("No plan: ramp: is 12000.")
    form.get_by_role("button", name="Create a draft").click()
    expect(form.get_by_role("alert")).to_contain_text("Not created: ramp: is 12000.")
    expect(ramp).to_be_focused()
    expect(ramp).to_have_attribute("aria-invalid", "true")
    assert axe(page) == []

    ramp.fill("100")
    expect(ramp).not_to_have_attribute("aria-invalid", "true")
    form.get_by_role("button", name="Create and start").click()
    page.get_by_role("dialog").get_by_role("button", name="Create and start").click()
    expect(form.get_by_role("alert")).to_contain_text("'digits_se' is a model's name already")
    expect(name).to_be_focused()

    arm(form, "Control").get_by_label("Weight").fill("60")
    expect(form.get_by_text("The weights sum to 110 %, they must sum to 100 %.")).to_be_visible()
    expect(form.get_by_text("must sum to 10000")).to_be_visible()
    form.get_by_role("button", name="Make them equal").click()
    expect(form.get_by_text("The weights sum to 100 %.")).to_be_visible()
    with Caller.to(gateway.http) as caller:
        assert "digits_se" not in {one["name"] for one in caller.get("/v1/experiments")["experiments"]}


def test_no_share_is_rounded_in_silence(page: Page, form: Locator, watch: Watch) -> None:
    """What is finer than 1/10 000 is refused at its field; what binary fractions cannot hold is exact."""
    watch.allow("^answer: 400 to POST .*:plan")
    form.get_by_label("Ramp").fill("33.335")
    expect(plan_of(page)).to_contain_text("No plan: ramp: is 3333.5.")
    for text, whole in (("0.29", 29), ("1.15", 115), ("64.01", 6401), ("99.99", 9999)):
        form.get_by_label("Ramp").fill(text)
        assert shown_yaml(page)["ramp"] == whole
    arm(form, "Control").get_by_label("Weight").fill("50.001")
    expect(form.get_by_text("The weights sum to 100.001 %, they must sum to 100 %.")).to_be_visible()


def test_a_lost_answer_is_no_refusal(page: Page, form: Locator, gateway: FakeGateway, watch: Watch) -> None:
    """The draft may have been made: the page does not say that it was not, and keeps what was typed."""
    watch.allow("^failed: POST .*/v1/experiments: ")

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/experiments", lose)
    form.get_by_label("Name", exact=True).fill("lost-answer")
    form.get_by_label("Reason").fill(WHY)
    form.get_by_role("button", name="Create a draft").click()
    expect(form.get_by_role("alert")).to_contain_text("It is not known whether it was created")
    expect(form.get_by_label("Name", exact=True)).to_have_value("lost-answer")
    expect(form.get_by_role("button", name="Create a draft")).to_be_enabled()
    assert known(gateway, "lost-answer")["state"] == "draft"


def test_what_is_typed_survives_a_reload(page: Page, form: Locator) -> None:
    """Until one starts over; what a mode does not have goes with it."""
    form.get_by_role("radio", name="Split").check()
    form.get_by_label("Primary metric").select_option(label="Latency, median")
    form.get_by_label("Name", exact=True).fill("half-done")
    form.get_by_role("button", name="Add an arm").click()
    before = shown_yaml(page)
    page.reload()
    expect(form.get_by_label("Name", exact=True)).to_have_value("half-done")
    assert shown_yaml(page) == before
    assert before["primary_metric"] == "latency_p50"
    form.get_by_role("radio", name="Shadow").check()
    after = shown_yaml(page)
    assert after["primary_metric"] == "accuracy"
    assert all("weight" not in one for one in after["arms"])
    page.get_by_role("button", name="Start over").click()
    expect(form.get_by_label("Name", exact=True)).to_have_value("")
    expect(arm(form, "Arm 3")).to_have_count(0)


def test_a_draft_that_cannot_start_is_shown(
    page: Page, form: Locator, gateway: FakeGateway, watch: Watch
) -> None:
    """It is said to be made, and why it does not run."""
    watch.allow("^answer: 409 to POST .*:start")
    with Caller.to(gateway.http) as caller:
        caller.send("PUT", "/v1/aliases/elsewhere", {"target": "digits_sk", "reason": WHY})
    form.get_by_label("Name", exact=True).fill("cannot-start")
    form.get_by_label("Alias").fill("elsewhere")
    form.get_by_label("Reason").fill(WHY)
    form.get_by_role("button", name="Create and start").click()
    page.get_by_role("dialog").get_by_role("button", name="Create and start").click()
    expect(form.get_by_role("alert")).to_contain_text("cannot-start is made, but not started: alias:")
    expect(form.get_by_label("Alias")).to_be_focused()
    form.get_by_role("link", name="Show the draft").click()
    expect(page.get_by_role("heading", level=1, name="cannot-start")).to_be_visible()
    assert known(gateway, "cannot-start")["state"] == "draft"


def test_the_list_says_what_is_known(page: Page, gateway: FakeGateway, experiment: str) -> None:
    """Name, state, verdict and sentence as the API has them, the last changed first; filtered by address."""
    made(gateway, "a-draft")
    made(gateway, "was-stopped", "stop")
    page.goto(f"{gateway.http}/#/experiments")
    with Caller.to(gateway.http) as caller:
        known_ones = caller.get("/v1/experiments?verdicts=true")["experiments"]
    newest = sorted(known_ones, key=lambda one: str(one["created_at"]), reverse=True)
    expect(page.get_by_role("listitem").get_by_role("heading")).to_have_text([one["name"] for one in newest])
    sentence = next(one["sentence"] for one in known_ones if one["name"] == experiment)
    expect(listed(page, experiment)).to_contain_text(sentence)
    expect(listed(page, experiment)).to_contain_text("Running")
    expect(listed(page, "a-draft")).to_contain_text("Draft")
    page.get_by_role("radio", name="Stopped").check(force=True)
    expect(listed(page, "a-draft")).to_have_count(0)
    expect(listed(page, "was-stopped")).to_be_visible()
    page.reload()
    expect(listed(page, "was-stopped")).to_be_visible()
    expect(listed(page, "a-draft")).to_have_count(0)
    page.goto(f"{gateway.http}/#/experiments?state=<b>")
    expect(page.get_by_text("No experiment is in this state.")).to_be_visible()


def test_a_verdict_that_is_not_known_yet_comes_later(
    page: Page, gateway: FakeGateway, experiment: str
) -> None:
    """The list does not wait for it, says that it is being found, and asks again by itself."""
    with Caller.to(gateway.http) as caller:
        later = caller.get("/v1/experiments?verdicts=true")
    unknown = {"verdict": None, "sentence": None, "verdict_known": False}
    answers = iter([{"experiments": [one | unknown for one in later["experiments"]]}])
    page.route("**/v1/experiments?verdicts=true", lambda route: route.fulfill(json=next(answers, later)))
    page.goto(f"{gateway.http}/#/experiments")
    expect(listed(page, experiment)).to_contain_text("The verdict is being found")
    expect(listed(page, experiment)).not_to_contain_text("The verdict is being found")


def test_two_tabs_cannot_undo_each_other(open_page: OpenPage, gateway: FakeGateway, watch: Watch) -> None:
    """What is done to an older version is refused in words, and the newer one is shown; nothing is lost."""
    watch.allow("^answer: 412 to POST .*:stop")
    name = made(gateway, "two-tabs", "start")
    first, second = open_page(), open_page()
    for page in (first, second):
        page.goto(f"{gateway.http}/#/experiments")
        open_acts(page, name)
    first.get_by_role("button", name="Stop").click()
    second.get_by_role("button", name="Pause").click()
    dialog = second.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("first come")
    dialog.get_by_role("button", name="Pause").click()
    expect(listed(second, name)).to_contain_text("Paused: version 3, in force from")
    expect(listed(second, name).get_by_role("group")).to_be_focused()

    dialog = first.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("too late")
    for _ in range(2):  # the dialog stays with what was seen when it was opened
        dialog.get_by_role("button", name="Stop").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Somebody else has changed it meanwhile")
        expect(dialog.get_by_role("button", name="Stop")).to_be_enabled()
    assert axe(first) == []
    dialog.get_by_role("button", name="Cancel").click()
    expect(listed(first, name)).to_contain_text("! Paused")
    expect(first.get_by_role("button", name="Resume")).to_be_visible()
    now = known(gateway, name)
    assert (now["state"], now["version"], now["reason"]) == ("paused", 3, "first come")


def test_a_dialog_stays_though_its_row_would_go(page: Page, gateway: FakeGateway, watch: Watch) -> None:
    """Somebody else ended what the filter showed: the reader is told so, and loses nothing that was typed."""
    watch.allow("^answer: 412 to POST .*:pause")
    name = made(gateway, "ended-meanwhile", "start")
    page.goto(f"{gateway.http}/#/experiments?state=running")
    open_acts(page, name).get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("half a reason")
    with Caller.to(gateway.http) as caller:
        caller.send("POST", f"/v1/experiments/{name}:stop", {"reason": WHY})
    dialog.get_by_role("button", name="Pause").click()
    expect(listed(page, name)).to_contain_text("= Stopped")
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody else has changed it meanwhile")
    expect(dialog.get_by_label("Reason")).to_have_value("half a reason")


def test_the_focus_outlives_the_button_that_had_it(page: Page, gateway: FakeGateway) -> None:
    """In the report a button goes with the state: whoever uses a keyboard stays where it was."""
    name = made(gateway, "focus-stays", "start")
    page.goto(f"{gateway.http}/#/experiments/{name}")
    acts = page.get_by_role("group", name=f"What can be done to {name}")
    acts.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_label("Reason").fill(WHY)
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(acts.get_by_role("button")).to_have_count(0)
    expect(acts).to_be_focused()
    expect(page.get_by_text(re.compile("State ended: stopped, started "))).to_be_visible()


def test_a_ramp_and_a_promotion_say_what_will_happen(page: Page, gateway: FakeGateway) -> None:
    """The sentence follows what is chosen, and what was chosen is done."""
    name = made(gateway, "whole-life", "start")
    page.goto(f"{gateway.http}/#/experiments")
    open_acts(page, name).get_by_role("button", name="Ramp").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Ramp").fill("12.5")
    expect(dialog).to_contain_text("12.5 % of the units take part instead of 100 %.")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Ramp").click()
    expect(listed(page, name)).to_contain_text("12.50 %")
    open_acts(page, name).get_by_role("button", name="Promote").click()
    expect(dialog).to_contain_text("“eca” answers everybody")
    expect(dialog).to_contain_text("The verdict is “Not enough data” so far.")
    dialog.get_by_label("The arm that wins").select_option(value="se")
    expect(dialog).to_contain_text("“se” answers everybody")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Promote").click()
    expect(listed(page, name)).to_contain_text("Promoted: version 4")
    now = known(gateway, name)
    assert (now["state"], now["winner"], now["ramp"], now["reason"]) == ("promoted", "se", 1250, WHY)


def test_every_state_offers_what_leads_on(page: Page, gateway: FakeGateway) -> None:
    """The acts of the life cycle that change something, and no other."""
    names = {state: made(gateway, f"state-{state.value.replace('_', '-')}") for state in State}
    with Caller.to(gateway.http) as caller:
        document = caller.get("/v1/experiments?verdicts=true")
    for one in document["experiments"]:
        one["state"] = next((state for state, name in names.items() if name == one["name"]), one["state"])
    page.route("**/v1/experiments?verdicts=true", lambda route: route.fulfill(json=document))
    page.goto(f"{gateway.http}/#/experiments")
    expect(listed(page, names[State.DRAFT])).to_be_visible()
    for state, name in names.items():
        lead_on = {
            act.value.replace("rollback", "roll back")
            for (begin, act), end in WAYS.items()
            if begin is state and (end is not begin or act is Act.RAMP)
        }
        shown = listed(page, name).locator(".buttons button").all_text_contents()
        assert {text.lower().rstrip("…") for text in shown} == lead_on, state


def test_roles(page: Page, start_gateway: StartGateway, watch: Watch) -> None:
    """Who may only infer sees list and form, and is told what is lacking; nothing is asked in vain."""
    watch.allow("^answer: 401 ")
    guarded = start_gateway(tokens=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.goto(f"{guarded.http}/#/experiments")
    token(page, guarded.secret("infer"))
    expect(page.get_by_text("It begins as a draft that serves nobody")).to_be_visible()
    page.get_by_role("link", name="See what one would look like").click()
    lack = "Your role is “infer”; this needs “operate”."
    expect(plan_of(page)).to_contain_text(lack)
    for button in ("Create a draft", "Create and start"):
        expect(page.get_by_role("button", name=button)).to_be_disabled()
        expect(page.get_by_role("button", name=button)).to_have_accessible_description(lack)
    assert not any(one.startswith("POST") for one in asked)

    with Caller.to(guarded.http, guarded.secret("operate")) as caller:
        arms = [{"name": one, "model": f"digits_{one}", "version": "1"} for one in ("se", "eca")]
        design = {"name": "theirs", "mode": "shadow", "arms": arms, "reason": WHY}
        caller.send("POST", "/v1/experiments", design)
    page.goto(f"{guarded.http}/#/experiments")
    page.reload()
    start = open_acts(page, "theirs").get_by_role("button", name="Start")
    expect(start).to_be_disabled()
    expect(start).to_have_accessible_description(lack)
    page.get_by_role("button", name="Forget token").click()
    token(page, guarded.secret("operate"))
    expect(open_acts(page, "theirs").get_by_role("button", name="Start")).to_be_enabled()


def token(page: Page, secret: str) -> None:
    """Answer the dialog."""
    page.get_by_role("dialog").get_by_label("Token").fill(secret)
    page.get_by_role("dialog").get_by_role("button", name="Use it").click()


def test_a_gateway_without_experiments_says_so(page: Page, gateway: FakeGateway) -> None:
    """In words, and with the setting's name; nothing is asked that would be refused."""
    with Caller.to(gateway.http) as caller:
        me = caller.get("/v1/me") | {"experiments": False}
    page.route("**/v1/me", lambda route: route.fulfill(json=me))
    page.goto(f"{gateway.http}/#/experiments")
    expect(page.get_by_text("Experiments are disabled on this gateway.")).to_be_visible()
    expect(page.get_by_text("experiments.enabled")).to_be_visible()


@pytest.mark.parametrize("view", ["experiments", NEW])
def test_a_narrow_screen_needs_no_sideways_scrolling(
    open_page: OpenPage, gateway: FakeGateway, experiment: str, view: str
) -> None:
    """What is too wide scrolls by itself; no rule of accessibility is broken in the dark either."""
    page = open_page(width=NARROW, theme="dark")
    page.goto(f"{gateway.http}/#/{view}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(
        listed(page, experiment) if view == "experiments" else plan_of(page).get_by_role("table")
    ).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    assert axe(page) == []
