"""The report of an experiment in a browser: what the JSON says, in words and figures."""

from __future__ import annotations

import json
import re
from functools import cache

from playwright.sync_api import Page, expect

from loadtests.example_report import document
from serve.reporting.health import checks
from serve.reporting.measure import measure
from serve.reporting.metrics import metrics_table
from serve.reporting.node import Node
from serve.reporting.summary import badge_of, summary
from serve.reporting.words import VERDICTS
from tests.page.axe import axe
from tests.page.browsing import Watch
from tests.page.caller import Caller, Json
from tests.page.gateways import FakeGateway

NAME = "sorter-v4"


@cache
def example() -> Json:
    """A report of simulated traffic, as the gateway would send it."""
    found = document()
    return {**found.pop("report"), **found}


def show(page: Page, gateway: FakeGateway, report: Json, tab: str = "") -> None:
    """Open a report that the gateway is made to send, in one of its tabs."""
    page.route(f"**/v1/experiments/{NAME}/report", lambda route: route.fulfill(json=report))
    design = {**report["design"], "version": report["version"], "state": report["state"], "labels": []}
    page.route(f"**/v1/experiments/{NAME}", lambda route: route.fulfill(json=design))
    page.goto(f"{gateway.http}/#/experiments/{NAME}{f'?tab={tab}' if tab else ''}")
    expect(page.get_by_role("tab").first).to_be_visible()


def test_the_page_says_what_the_json_says(page: Page, gateway: FakeGateway, experiment: str) -> None:
    """The verdict, the sentence, every tile and every line of the metrics are those of the report."""
    with Caller.to(gateway.http) as caller:
        report = Node(caller.get(f"/v1/experiments/{experiment}/report"))
    page.goto(f"{gateway.http}/#/experiments/{experiment}")
    top = page.get_by_role("region", name=badge_of(report).text)
    told = summary(report, None)
    expect(top).to_contain_text(told.sentence)
    expect(top).to_contain_text(told.rule)
    for tile in told.tiles:
        expect(top).to_contain_text(f"{tile.name}{tile.value}{tile.meaning}")
    table = page.get_by_role("region", name="Metrics of the arms")
    shown = table.locator("tr.member").evaluate_all(
        "all => all.map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    lines = [line for group in metrics_table(report.nodes("rows")).groups for line in group.lines]
    assert shown == [
        [line.name, line.estimate, line.interval, "", line.e, line.p, line.n, str(line.method or "")]
        for line in lines
    ]


def test_health_comes_before_every_difference(page: Page, gateway: FakeGateway) -> None:
    """What is broken is first, with its figures; and each part that compares says that it means nothing."""
    report = json.loads(json.dumps(example()))
    report["verdict"] = "broken"
    report["health"][-1] |= {"state": "broken", "words": "the <b>cause</b>"}
    show(page, gateway, report)
    cards = page.get_by_role("region", name="Can the comparison be trusted?").get_by_role("listitem")
    assert [card.get_by_role("heading").inner_text() for card in cards.all()] == [
        check.title for check in checks(Node(report).nodes("health"))
    ]
    expect(cards.first).to_contain_text("✕ Broken")
    expect(cards.first).to_contain_text("The <b>cause</b>")
    assert page.locator("h2, [role=tablist]").evaluate_all(
        "all => all.findIndex((one) => /^Can the/.test(one.innerText)) < all.findIndex((one) => one.role)"
    )
    assert axe(page) == []
    warning = page.get_by_text("no difference below means anything until the cause is found")
    expect(warning).to_be_visible()
    page.get_by_role("tab", name="History").click()
    expect(warning).to_have_count(0)


def test_verdicts_and_times_are_those_of_the_static_report(page: Page, gateway: FakeGateway) -> None:
    """Whatever the verdict, and however long it runs: a start to come, ties of rounding, days."""
    report = json.loads(json.dumps(example()))
    started = next(one["effective_at"] for one in report["history"] if one["act"] == "start")
    seconds = dict(zip(VERDICTS, (-2.0, 0.0, 900.0, 8_100.0, 172_799.0, 172_800.0, 194_400.0), strict=True))
    for verdict, took in seconds.items():
        report |= {"verdict": verdict, "at": started + took}
        page.unroute_all()
        show(page, gateway, report)
        page.reload()
        told = summary(Node(report), started)
        top = page.get_by_role("region", name=VERDICTS[verdict].text)
        for tile in told.tiles:
            expect(top).to_contain_text(f"{tile.name}{tile.value}{tile.meaning}")


def test_ten_arms_can_be_told_apart(page: Page, gateway: FakeGateway) -> None:
    """Colours that are used again are dashed."""
    report = json.loads(json.dumps(example()))
    (curve, *_), (arm, *_) = report["latency_curves"], report["arms"]
    names = [f"arm-{place}" for place in range(10)]
    report["arms"] = [arm | {"name": name} for name in names]
    report["latency_curves"] = [curve | {"arm": name} for name in names]
    show(page, gateway, report, "latency")
    swatches = page.get_by_role("figure").locator(".legend .swatch")
    expect(swatches).to_have_count(10)
    looks = swatches.evaluate_all("all => all.map((one) => one.className)")
    assert len(set(looks)) == 10


def test_a_promotion_is_told_the_verdict(page: Page, gateway: FakeGateway) -> None:
    """From the report as from the list; an unknown tab is the first one, with its warning."""
    report = example() | {"verdict": "broken", "state": "running"}
    show(page, gateway, report, "nonsense")
    expect(page.get_by_text("no difference below means anything until the cause is found")).to_be_visible()
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("dialog")).to_contain_text("The verdict is “Comparison broken” so far.")


def test_tabs_go_by_arrow_keys_and_stand_in_the_address(page: Page, gateway: FakeGateway) -> None:
    """Right goes on, left from the first goes to the last; whoever opens the address sees the same."""
    show(page, gateway, example())
    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Latency")).to_contain_text("17.69 ms")
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="How to read this")).to_contain_text("Winner's curse")
    page.reload()
    expect(page.get_by_role("tab", selected=True)).to_have_text("How to read this")


def test_a_newer_report_disturbs_nobody(page: Page, gateway: FakeGateway) -> None:
    """It is asked for after ten seconds; the tab, the focus and the place on the page stay."""
    page.clock.install()
    report = json.loads(json.dumps(example()))
    show(page, gateway, report, "classes")
    field = page.get_by_label("Classes whose name contains")
    field.fill("li")
    place = page.evaluate("scrollY")
    report["sentence"] = "Something newer."
    page.clock.fast_forward("00:11")
    expect(page.get_by_text("Something newer.")).to_be_visible()
    expect(field).to_be_focused()
    expect(field).to_have_value("li")
    assert page.evaluate("scrollY") == place
    expect(page.get_by_role("row").filter(has_text="lid")).not_to_have_count(0)


def test_the_difference_is_drawn_and_stands_in_a_table(page: Page, gateway: FakeGateway) -> None:
    """The last look's figures are the comparison's, along units as well as along time."""
    show(page, gateway, example())
    row = example()["comparisons"][0]["row"]
    written = measure(Node(row))
    legend = page.get_by_role("figure").filter(has_text="holds at every look").first
    expect(legend).to_contain_text(f"estimate {written.one(row['estimate'])}")
    page.get_by_label("Along").select_option("units that took part")
    expect(legend).to_contain_text("units that took part: 7,988")
    assert "x=units" in page.url
    legend.get_by_text("The figures as a table").click()
    last = legend.get_by_role("row").last
    for key in ("estimate", "low", "high", "fixed_low", "fixed_high"):
        expect(last).to_contain_text(written.one(row[key]))


def test_a_thousand_classes_are_shown_from_the_most_telling(page: Page, gateway: FakeGateway) -> None:
    """Fifty rows at first; sorting by a head goes over all of them, and a name is found among all."""
    report = json.loads(json.dumps(example()))
    first = report["classes"][0]
    report["classes"] = [
        first | {"label": f"class {place:04}", "estimate": place / 10_000, "found": place == 0}
        for place in range(1000)
    ]
    labels = [f"class {place:04}" for place in range(60)]
    change = [[2.0 * (row + column == 99) for column in range(60)] for row in range(60)]
    report["confusion_changes"] = [{"arm": "v4", "labels": labels, "change": change}]
    show(page, gateway, report, "classes")
    table = page.get_by_role("region", name=re.compile("^Accuracy on the images of each true class"))
    names = table.get_by_role("rowheader")
    expect(names).to_have_count(50)
    assert names.all_inner_texts()[:2] == ["class 0000", "class 0999"]  # the one found, then the largest
    table.get_by_role("button", name="True class").click()
    expect(names.nth(1)).to_have_text("class 0001")
    expect(table.get_by_role("columnheader", name="True class")).to_have_attribute("aria-sort", "ascending")
    page.get_by_label("Classes whose name contains").fill("0500")
    expect(names).to_have_text(["class 0500"])
    heat = page.get_by_role("region", name=re.compile("^Change of the confusion matrix")).get_by_role(
        "rowheader"
    )
    expect(heat).to_have_count(20)
    assert heat.first.inner_text() == "class 0040"  # below that no answer moved
    page.get_by_role("button", name="Show all").click()
    expect(heat).to_have_count(60)


def test_a_report_that_cannot_be_had_is_said_in_words(page: Page, gateway: FakeGateway, watch: Watch) -> None:
    """While the store is down the frame stands, says why, and shows the report once it is back."""
    watch.allow("^answer: 503 ")
    show(page, gateway, example())
    down: Json = {"error": "the ledger does not answer; try again later"}
    page.unroute(f"**/v1/experiments/{NAME}/report")
    page.route(f"**/v1/experiments/{NAME}/report", lambda route: route.fulfill(json=down, status=503))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text(down["error"])
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    page.unroute(f"**/v1/experiments/{NAME}/report")
    page.route(f"**/v1/experiments/{NAME}/report", lambda route: route.fulfill(json=example()))
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text(example()["sentence"])).to_be_visible()


def test_whoever_may_not_label_is_told_so(page: Page, gateway: FakeGateway) -> None:
    """Without the role no disagreement is asked for, and nothing can be saved that needs it."""
    with Caller.to(gateway.http) as caller:
        me = caller.get("/v1/me")
    page.route("**/v1/me", lambda route: route.fulfill(json={**me, "role": "infer", "access": "token"}))
    show(page, gateway, example(), "disagreements")
    expect(page.get_by_role("tabpanel")).to_contain_text("this needs “operate”")
    page.get_by_role("tab", name="Pairs").click()
    expect(page.get_by_role("button", name=re.compile("raw pairs")).first).to_be_disabled()
