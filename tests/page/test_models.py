"""The view of the models: what a card says, what is sorted and sought, what is changed there and by whom."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.demo import Demo
from tests.e2e.stacks import Stack
from tests.page.axe import axe
from tests.page.browsing import OpenPage, Watch
from tests.page.caller import Caller, until
from tests.page.fake_engine import card_of
from tests.page.gateways import FakeGateway, StartGateway

Json = dict[str, Any]
WHY = "the <b>tests</b> say so"


def card(page: Page, name: str) -> Locator:
    """The card of a model."""
    return page.get_by_role("article", name=name, exact=True)


def fact(where: Locator, name: str) -> Locator:
    """The value beside a name."""
    return where.locator("dl > div").filter(has=where.page.get_by_text(name, exact=True)).locator("dd")


def confirm(page: Page, act: str, reason: str = WHY) -> None:
    """Give a reason in the dialog, and do it."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=act, exact=True).click()


def state(gateway: FakeGateway, name: str) -> str:
    """What the API says of a version 1."""
    with Caller.to(gateway.http) as caller:
        return str(caller.get(f"/v1/models/{name}/versions/1")["state"])


def audited(folder: Path) -> list[tuple[str, ...]]:
    """Act, target and reason of each line of the audit."""
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    return [tuple(line.get(key, "") for key in ("act", "target", "reason")) for line in lines]


def changed(page: Page, gateway: FakeGateway, path: str, change: Callable[[Json], None]) -> None:
    """Let the page see another answer than the gateway's."""
    with Caller.to(gateway.http) as caller:
        document = caller.get(path)
    change(document)
    page.route(f"**{path}", lambda route: route.fulfill(json=document))


def signature_of(demo: Demo, name: str) -> Json:
    """What the archive itself says."""
    with zipfile.ZipFile(demo.archives / f"{name}.mar") as archive:
        found: Json = json.loads(archive.read("signature.json"))
    return found


def test_cards_say_what_the_archives_say(page: Page, stack: Stack, demo: Demo) -> None:
    """Of each net of the demo, every figure is its signature's; TorchServe lets one go and takes it back."""
    page.goto(f"{stack.addresses['http']}/#/models")
    for name in ("digits_eca", "digits_plain", "digits_se", "digits_sk"):
        signature = signature_of(demo, name)
        facts, one = signature["card"], card(page, name)
        low, high = facts["accuracy_interval_95"]
        expect(one).to_contain_text(f"{facts['accuracy']:.1%}".replace("%", " %"))
        expect(one).to_contain_text(
            f"95 % interval {low:.1%} to {high:.1%}".replace("%", " %").replace("95  ", "95 ")
        )
        expect(fact(one, "Parameters")).to_have_text(f"{facts['parameters']:,}")
        expect(fact(one, "Parity")).to_contain_text(
            f"{signature['parity']['max_abs_error']:.1e}".replace("e-0", "e-")
        )
        expect(fact(one, "Attention")).to_contain_text(
            signature["attention"] if name == "digits_plain" else ""
        )
        expect(one).to_contain_text(f"on {facts['split']['held_out']} held-out images")

    page.get_by_role("button", name="Unload digits_sk").click()
    confirm(page, "Unload")
    expect(card(page, "digits_sk")).to_contain_text("Not ready")
    assert stack.rest.get("/v2/models/digits_sk/ready").status_code == 503
    page.get_by_role("button", name="Load digits_sk").click()
    confirm(page, "Load")
    expect(card(page, "digits_sk")).to_contain_text("✓ Ready")
    assert stack.rest.get("/v2/models/digits_sk/ready").is_success
    page.get_by_role("link", name="digits_eca", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("digits_eca")
    assert confused(page) == signature_of(demo, "digits_eca")["card"]["confusion"]


def confused(page: Page) -> list[list[int]]:
    """The cells of the table, but for the share that was right."""
    table = page.get_by_role("table", name="Images of each true class")
    expect(table).to_be_visible()
    rows = table.get_by_role("row").all()[1:]
    return [[int(cell) for cell in row.get_by_role("cell").all_text_contents()[:-1]] for row in rows]


def test_details_are_those_of_the_card(page: Page, gateway: FakeGateway) -> None:
    """Counts to the unit, every block with its gates, every cell of the confusion, the digest, the labels."""
    page.goto(f"{gateway.http}/#/models/digits_sk/1")
    one = card_of("digits_sk", "1", "sk")
    facts = one.signature["card"]
    expect(page.get_by_text(f"{facts['parameters']:,}", exact=True)).to_be_visible()
    expect(page.get_by_text(f"{facts['macs']:,}", exact=True)).to_be_visible()
    expect(page.get_by_text(one.contents_sha256)).to_be_visible()
    for block in one.attention_layout:
        row = page.get_by_role("row").filter(has_text=block.block)
        gates = [str(block.channels), str(block.branches), str(block.channels * block.branches)]
        assert row.get_by_role("cell").all_text_contents() == gates
    assert confused(page) == facts["confusion"]
    labels = page.get_by_role("region", name="Labels").get_by_role("listitem")
    assert tuple(labels.all_text_contents()) == one.labels


def test_a_net_that_was_never_trained_is_warned_of(page: Page, gateway: FakeGateway) -> None:
    """As is one that is not ready, with the reason; what is not known is not made up."""

    def change(document: Json) -> None:
        first, second, *_ = document["models"]
        first |= {"trained": False}
        nothing = dict.fromkeys(
            ("card", "architecture", "family", "attention", "trained", "parity", "recipe")
        )
        second |= nothing | {"state": "UNAVAILABLE", "reason": "no room for <i>it</i>"}

    changed(page, gateway, "/v1/models", change)
    page.goto(f"{gateway.http}/#/models")
    expect(card(page, "digits_eca")).to_contain_text("Random weights")
    expect(fact(card(page, "digits_eca"), "Weights")).to_have_text("random")
    plain = card(page, "digits_plain")
    expect(plain).to_contain_text("no room for <i>it</i>")
    expect(plain).to_contain_text("Accuracy: not measured")
    expect(fact(plain, "Parameters")).to_have_count(0)


def test_speed_is_told_by_stages(page: Page, gateway: FakeGateway) -> None:
    """What no stage accounts for is the rest; who was never asked has no figure."""
    stages = {"mean_ms": 12.5, "queue_ms": 0.25, "decode_ms": 1.0, "infer_ms": 4.0}

    def change(document: Json) -> None:
        first, second, *_ = document["models"]
        first["usage"] |= stages | {"requests": 1234, "failed": 2}
        second["usage"] |= dict.fromkeys(stages) | {"requests": 0}

    changed(page, gateway, "/v1/models", change)
    page.goto(f"{gateway.http}/#/models")
    eca = card(page, "digits_eca")
    expect(eca).to_contain_text("12.5 ms mean request")
    told = eca.get_by_role("listitem").filter(has_text=" ms").all_text_contents()
    rest = "transport and the rest 7.25 ms"  # 12.5 - 0.25 - 1 - 4
    assert [one.strip() for one in told] == ["queue 0.25 ms", "decoding 1 ms", "net 4 ms", rest]
    expect(eca).to_contain_text("1,234 answered, 2 failed")
    expect(card(page, "digits_plain")).to_contain_text("not asked yet")


def test_many_classes_are_searched_and_their_worst_pairs_listed(page: Page, gateway: FakeGateway) -> None:
    """Of 30 classes there is no table of 900 cells; what is sought stands in the address."""
    labels = [f"class {number}" for number in range(30)]
    confusion = [[50 if row == column else 0 for column in range(30)] for row in range(30)]
    confusion[3][7], confusion[9][1] = 4, 6
    change = {"labels": labels, "classes": 30, "confusion": confusion}
    changed(page, gateway, "/v1/models/digits_se/versions/1", lambda document: document.update(change))
    page.goto(f"{gateway.http}/#/models/digits_se/1")
    pairs = page.get_by_role("table", name="The pairs that were confused most, 2 of 2").get_by_role("row")
    expect(pairs).to_have_count(3)
    told = [pair.locator("th, td").all_text_contents() for pair in pairs.all()[1:]]
    assert told == [
        ["class 9", "class 1", "6", "10.7 %"],
        ["class 3", "class 7", "4", "7.4 %"],
    ]  # of 56, of 54
    page.get_by_label("Search the labels").fill("CLASS 2")
    expect(page.get_by_text("11 of 30 labels")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Search the labels")).to_have_value("CLASS 2")


def test_the_comparison_is_sorted_with_the_keyboard(page: Page, gateway: FakeGateway) -> None:
    """Enter sorts upwards, again downwards; the head says which; a link shows the same; a filter keeps it."""
    page.goto(f"{gateway.http}/#/models")
    head = page.get_by_role("columnheader", name="Parameters")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    upwards = ["digits_plain:1", "digits_eca:1", "digits_se:1", "digits_se:2", "digits_sk:1"]
    assert compared(page) == upwards
    expect(head.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert compared(page)[0] == "digits_sk:1"
    page.reload()
    expect(head).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Attention").select_option("se")
    assert set(compared(page)) == {"digits_se:1", "digits_se:2"}
    assert "attention=se" in page.url
    assert "sort=-parameters" in page.url


def compared(page: Page) -> list[str]:
    """The models of the table, from its top."""
    heads = page.get_by_role("table", name="Models compared").get_by_role("rowheader")
    expect(heads.first).to_be_visible()
    return [head.strip() for head in heads.all_text_contents()]


def test_a_model_in_use_is_unloaded_with_a_warning_and_a_reason(
    page: Page, start_gateway: StartGateway
) -> None:
    """The alias that would be without an answer is named, the reason is in the audit, a load undoes it."""
    gateway = start_gateway()
    with Caller.to(gateway.http) as caller:
        caller.send("PUT", "/v1/aliases/production", {"target": "digits_sk:1", "reason": WHY})
    page.goto(f"{gateway.http}/#/models")
    page.get_by_role("button", name="Unload digits_sk").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("the alias “production”, which points to digits_sk:1")
    dialog.get_by_role("button", name="Cancel").click()
    assert state(gateway, "digits_sk") == "READY"

    page.get_by_role("button", name="Unload digits_sk").click()
    confirm(page, "Unload")
    expect(page.get_by_text("digits_sk was unloaded.")).to_be_visible()
    expect(page.get_by_role("button", name="Unload digits_sk")).to_have_count(0)
    assert state(gateway, "digits_sk") == "UNAVAILABLE"
    until(lambda: ("unload", "digits_sk", WHY) in audited(gateway.folder), "it is taken down, and why")

    page.get_by_role("button", name="Load digits_sk").click()
    confirm(page, "Load")
    expect(page.get_by_text("digits_sk was loaded.")).to_be_visible()
    assert state(gateway, "digits_sk") == "READY"


def test_an_alias_is_made_from_a_card_and_moved(
    page: Page, watch: Watch, start_gateway: StartGateway
) -> None:
    """The dialog says from where to where; who was overtaken is told so, and can try again."""
    gateway = start_gateway()
    page.goto(f"{gateway.http}/#/models")
    page.get_by_role("button", name="Point an alias to digits_eca").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Alias", exact=True).fill("champion")
    expect(dialog).to_contain_text("champion is new; calls to it will be answered by digits_eca.")
    confirm(page, "Make it")
    row = page.get_by_role("row", name="champion")
    expect(row).to_contain_text(WHY)

    row.get_by_role("button", name="Move champion").click()
    dialog.get_by_label("Points to").select_option("digits_se:2")
    expect(dialog).to_contain_text("are answered by digits_eca now, and will be by digits_se:2.")
    with Caller.to(gateway.http) as caller:
        caller.send("PUT", "/v1/aliases/champion", {"target": "digits_sk", "reason": "I was first"})
        watch.allow("^answer: 4")
        confirm(page, "Move it")
        expect(dialog.get_by_role("alert")).to_contain_text("is at version 2")
        expect(dialog).to_contain_text("are answered by digits_sk now, and will be by digits_se:2.")
        confirm(page, "Move it")
        expect(dialog).to_have_count(0)
        (alias,) = caller.get("/v1/aliases")["aliases"]
    assert (alias["target"], alias["version"], alias["reason"]) == ("digits_se:2", 3, WHY)
    expect(row.get_by_role("link", name="digits_se:2")).to_be_visible()


def test_what_the_gateway_refuses_is_told_in_its_words(
    page: Page, watch: Watch, gateway: FakeGateway
) -> None:
    """A model's name is no alias: the dialog stays, with the sentence, and Escape gives the focus back."""
    page.goto(f"{gateway.http}/#/models")
    button = page.get_by_role("button", name="Make an alias")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Alias", exact=True).fill("digits_se")
    dialog.get_by_label("Points to").select_option("digits_eca")
    watch.allow("^answer: 4.* PUT ")
    confirm(page, "Make it")
    expect(dialog.get_by_role("alert")).to_contain_text("digits_se")
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_who_may_not_change_anything_is_told_why(
    open_page: OpenPage, watch: Watch, start_gateway: StartGateway
) -> None:
    """In both views each button is off, and described by the sentence that names the role."""
    gateway = start_gateway(tokens=True)
    watch.allow("^answer: 401 ")
    page = open_page(theme="dark")
    page.goto(f"{gateway.http}/#/models")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(gateway.secret("infer"))
    dialog.get_by_role("button", name="Use it").click()
    for title in ("Models", "digits_se"):
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        button = page.get_by_role("button", name="Unload digits_se")
        expect(button).to_be_disabled()
        expect(button).to_have_accessible_description(
            "Nothing can be loaded, unloaded or pointed elsewhere: "
            "Your role is “infer”; this needs “operate”."
        )
        assert axe(page) == []
        page.get_by_role("link", name="digits_se:1").or_(page.get_by_role("link", name="All models")).click()


def test_a_model_that_is_opened_has_the_focus(page: Page, gateway: FakeGateway) -> None:
    """Its heading, as that of each view has it: not the place where its link was, which is gone."""
    page.goto(f"{gateway.http}/#/models")
    expect(page.get_by_role("heading", level=1)).not_to_be_focused()
    for name in ("digits_sk", "Models"):
        link = page.get_by_role("link", name=f"{name}:1" if name != "Models" else "All models")
        link.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name=name)).to_be_focused()


def test_an_answer_of_somebody_else_is_told_in_words(page: Page, gateway: FakeGateway) -> None:
    """As of a proxy that asks for a login, with a good status."""
    page.route("**/v1/models", lambda route: route.fulfill(body="<html>Log in", content_type="text/html"))
    page.goto(f"{gateway.http}/#/models")
    expect(page.get_by_role("alert")).to_contain_text("What answers here is not the gateway")


def test_a_view_is_fetched_while_the_gateway_says_who_is_there(page: Page, gateway: FakeGateway) -> None:
    """One after the other, they would take a round trip more."""
    held: list[Route] = []
    page.route("**/v1/me", lambda route: held.append(route))  # noqa: PLW0108  it is wrapped
    with page.expect_response("**/models/view.js"):
        page.goto(f"{gateway.http}/#/models")
    expect(page.get_by_role("link", name="Models")).to_be_visible()
    for route in held:
        route.continue_()
    expect(card(page, "digits_se")).to_be_visible()
