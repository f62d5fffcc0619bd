"""The live view: figures that come by themselves, one that is lost and found, links to the same view."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.page.axe import axe
from tests.page.browsing import OpenPage, Watch
from tests.page.caller import Caller, drawn
from tests.page.gateways import FakeGateway, StartGateway

MODEL = "digits_se"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
AT = 1_700_000_000
SOME = re.compile(r"[1-9]")


@contextmanager
def busy(gateway: FakeGateway, *names: str) -> Iterator[None]:
    """Somebody sends images to models and experiments, one after the other, meanwhile."""
    ended = Event()

    def send() -> None:
        with Caller.to(gateway.http) as caller:
            while not ended.wait(0.02):
                for number, (image, _) in enumerate(drawn(3)):
                    for name in names:
                        caller.ask(name, image, f"unit-{number}")

    sending = Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        ended.set()
        sending.join()


def tile(page: Page, note: str) -> Locator:
    """The figure over that note."""
    return page.locator(".tile").filter(has_text=note).locator(".value")


def row(page: Page, table: str, name: str) -> Locator:
    """A row of a table, by what stands in it."""
    return page.get_by_role("region", name=table).get_by_role("row").filter(has_text=name)


def state(page: Page) -> Locator:
    """The line that says whether figures come."""
    return page.locator("main").get_by_role("status").filter(has_text=re.compile(r"\.$"))


def test_figures_appear_under_load(
    page: Page, open_page: OpenPage, gateway: FakeGateway, experiment: str
) -> None:
    """Tiles, the model's row, the arms' rows and the charts tell of the requests that are sent."""
    with busy(gateway, MODEL, experiment):
        page.goto(f"{gateway.http}/#/live")
        for note in ("however they ended", "answered", "the slowest"):
            expect(tile(page, note)).to_have_text(SOME)
        expect(tile(page, "not the callers’ own")).to_have_text("0/s")
        expect(row(page, "Models now", MODEL)).to_contain_text(re.compile(r"[1-9][\d.]* ms"))
        for arm in ("se", "eca"):
            arm_row = row(page, "Arms now", experiment).filter(has=page.get_by_text(arm, exact=True))
            expect(arm_row).to_contain_text(re.compile(r"[1-9][\d.]* ms"))
        legend = page.get_by_label(re.compile("^Latency over time")).locator("xpath=..").locator("li")
        expect(legend.filter(has_text=MODEL)).to_contain_text(re.compile(r"[1-9][\d.]* ms"))
    expect(row(page, "Engines now", "fake-0")).to_contain_text("takes batches")
    expect(tile(page, "however they ended")).to_have_text("0/s")
    assert axe(page) == []
    narrow = open_page(theme="dark", width=390)
    narrow.goto(f"{gateway.http}/#/live")
    expect(row(narrow, "Models now", MODEL)).to_be_visible()
    assert axe(narrow) == []


def test_a_lost_gateway_is_told_of_and_found_again(
    page: Page, start_gateway: StartGateway, watch: Watch
) -> None:
    """In words, once; when it is back the figures go on, with a hole where it was away."""
    watch.allow(r"^failed: GET \S+/v1/live")
    gateway = start_gateway()
    page.goto(f"{gateway.http}/#/live")
    expect(state(page)).to_have_text("New figures every two seconds.")
    figures = page.get_by_text("The figures as a table").first
    figures.click()
    expect(page.get_by_role("region", name="Requests, images").get_by_role("row").nth(3)).to_be_visible()

    gateway.lose()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The gateway does not answer.")
    expect(row(page, "Models now", MODEL)).to_be_visible()
    gateway.come_back()
    expect(alert).to_have_count(0)
    expect(state(page)).to_have_text("New figures every two seconds.")

    rows = page.get_by_role("region", name="Requests, images").locator("tbody tr")
    # One is where the window begins, before anything was measured.
    expect(rows.filter(has_not_text="/s")).to_have_count(2)
    measured = ["/s" in one for one in rows.all_inner_texts()]
    assert [measured[0], measured[1], measured[-1]] == [False, True, True]


def test_a_link_shows_the_same_view(
    page: Page, open_page: OpenPage, gateway: FakeGateway, experiment: str
) -> None:
    """Model, window, percentile, arms and the pause stand in the address, and are there again from it."""
    page.goto(f"{gateway.http}/#/live")
    page.get_by_label("Window", exact=True).select_option("15 minutes")
    page.get_by_label("Percentile", exact=True).select_option("p95")
    page.get_by_label("Latency of", exact=True).select_option(f"arms of {experiment}")
    page.get_by_label("Model", exact=True).select_option(MODEL)
    page.get_by_role("button", name="Pause").click()
    other = open_page()
    other.goto(page.url)
    for label, value in {
        "Window": "15",
        "Percentile": "p95",
        "Latency of": experiment,
        "Model": MODEL,
    }.items():
        expect(other.get_by_label(label, exact=True)).to_have_value(value)
    expect(state(other)).to_have_text("Paused.")
    expect(other.get_by_role("button", name="Go on")).to_be_visible()
    expect(other.get_by_text(f"p95 of the arms of {experiment}")).to_be_visible()
    expect(row(other, "Models now", MODEL)).to_be_visible()
    expect(row(other, "Models now", "digits_eca")).to_have_count(0)


def test_nothing_is_asked_while_it_is_paused_or_hidden(page: Page, gateway: FakeGateway) -> None:
    """And as soon as it goes on, the figures of the meantime are asked for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "v1/live" in request.url else None)
    page.clock.install()
    page.goto(f"{gateway.http}/#/live")
    expect(state(page)).to_have_text("New figures every two seconds.")
    with page.expect_response("**/v1/live?since=*"):
        page.clock.run_for(2000)
    page.get_by_role("button", name="Pause").click()
    expect(state(page)).to_have_text("Paused.")
    before = len(asked)
    page.clock.run_for(20_000)
    assert len(asked) == before
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.get_by_role("button", name="Go on").click()
    expect(state(page)).to_have_text("New figures every two seconds.")
    page.clock.run_for(20_000)
    assert len(asked) == before
    page.evaluate("delete document.hidden")
    with page.expect_response("**/v1/live?since=*") as found:
        page.clock.run_for(2000)
    assert "since=0&" not in found.value.url


def test_new_figures_are_not_read_out(page: Page, gateway: FakeGateway) -> None:
    """What a screen reader announces by itself does not change as long as all is well."""
    page.clock.install()
    page.goto(f"{gateway.http}/#/live")
    expect(row(page, "Models now", MODEL)).to_be_visible()
    expect(page.locator(".tiles")).to_have_attribute("aria-live", "off")
    page.evaluate(
        """() => {
          window.heard = [];
          const watcher = new MutationObserver((all) => window.heard.push(all.length));
          for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live=polite]")) {
            watcher.observe(region, {subtree: true, childList: true, characterData: true, attributes: true});
          }
        }"""
    )
    for _ in range(3):
        with page.expect_response("**/v1/live?since=*"):
            page.clock.run_for(2000)
    assert page.evaluate("window.heard") == []
    expect(page.locator("[aria-live=assertive]")).to_have_count(0)


def quiet(**more: object) -> dict[str, object]:
    """A model's or an arm's figures."""
    times = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), 4.0)
    return {"requests_s": 3.0, "errors_s": 1.5, **times, **more}


def told(points: int = 3, **more: object) -> Mapping[str, Any]:
    """An answer of a gateway in trouble, with names that want to be more than names."""
    model = quiet(images_s=3.0, batch_images=None, queue_images=7, inflight=2)
    return {
        "now": AT + 2 * points,
        "every_s": 2.0,
        "process": {"index": 2, "of": 3},
        "points": [
            {
                "n": number + 1,
                "at": AT + 2 * number,
                "models": {HOSTILE: model, "unknown": model},
                "arms": {HOSTILE: {HOSTILE: quiet()}},
            }
            for number in range(points)
        ],
        "engines": [
            {"name": HOSTILE, "ejected": True, "restarts": 4, "retries": 9, "models": {HOSTILE: "open"}},
            {"name": "b", "ejected": False, "restarts": 0, "retries": 0, "models": {"m": "half_open"}},
            {"name": "c", "ejected": True, "restarts": 0, "retries": 0, "models": {}},
        ],
        **more,
    }


def answering(document: Mapping[str, Any]) -> Any:  # noqa: ANN401  as Playwright takes it
    """A handler that answers with a document."""

    def handle(route: Route) -> None:
        route.fulfill(content_type="application/json", body=json.dumps(document))

    return handle


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_trouble_is_told_in_words_and_names_are_names(
    open_page: OpenPage, gateway: FakeGateway, theme: str
) -> None:
    """Engines' states are sentences, errors have a sign, and whatever is called like markup is shown so."""
    page = open_page(theme=theme)
    page.route("**/v1/live?*", answering(told()))
    page.goto(f"{gateway.http}/#/live?arms={HOSTILE}&model=")
    engines = page.get_by_role("region", name="Engines now")
    expect(engines.get_by_role("row").nth(1)).to_contain_text("ejected: it gets no batches")
    expect(engines.get_by_role("row").nth(1)).to_contain_text(f"{HOSTILE} gets no batches")
    expect(engines.get_by_role("row").nth(1)).to_contain_text("4")
    expect(engines.get_by_role("row").nth(2)).to_contain_text("m is being tried again")
    expect(engines.get_by_role("row").nth(3)).to_contain_text("holds none")
    expect(row(page, "Models now", HOSTILE)).to_contain_text("! 1.5/s")
    expect(row(page, "Models now", "(no such model)")).to_be_visible()
    expect(row(page, "Arms now", HOSTILE)).to_be_visible()
    expect(page.get_by_text("Process 2 of 3 answers this page")).to_be_visible()
    expect(page.locator("main img")).to_have_count(0)
    assert page.title() == "Live · attnserve"
    assert axe(page) == []


def test_another_process_begins_a_new_history(page: Page, gateway: FakeGateway) -> None:
    """What one process has counted is not drawn on from another's."""
    page.clock.install()
    page.route("**/v1/live?*", answering(told(points=5)))
    page.goto(f"{gateway.http}/#/live")
    expect(page.get_by_text("Process 2 of 3")).to_be_visible()
    page.get_by_text("The figures as a table").first.click()
    rows = page.get_by_role("region", name="Requests, images").locator("tbody tr").filter(has_text="/s")
    expect(rows).to_have_count(5)
    page.route("**/v1/live?*", answering(told(points=2, process={"index": 3, "of": 3})))
    page.clock.run_for(2000)
    expect(page.get_by_text("Process 3 of 3")).to_be_visible()
    expect(rows).to_have_count(2)


def test_a_token_that_is_refused_is_not_tried_on_and_on(
    page: Page, gateway: FakeGateway, watch: Watch
) -> None:
    """Else the dialog that asks for another one would come back every two seconds."""
    watch.allow("^answer: 401 ")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "v1/live" in request.url else None)
    page.clock.install()
    page.route(
        "**/v1/live?*", lambda route: route.fulfill(status=401, json={"error": "this token has ended"})
    )
    page.goto(f"{gateway.http}/#/live")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_text("this token has ended").first).to_be_attached()
    page.clock.run_for(20_000)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("address", "links"),
    [("https://grafana.example/d/attnserve", 1), ("", 0), ("javascript:document.title='owned'", 0)],
    ids=["set", "not set", "a script"],
)
def test_dashboards_are_linked_where_they_are(
    page: Page, gateway: FakeGateway, address: str, links: int
) -> None:
    """To the address that the gateway tells, if it is one of the web, in a tab that knows nothing of ours."""

    def patched(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "grafana_url": address})

    page.route("**/v1/me", patched)
    page.goto(f"{gateway.http}/#/live")
    expect(state(page)).to_be_visible()
    link = page.get_by_role("link", name="Dashboards in Grafana")
    expect(link).to_have_count(links)
    if links:
        expect(link).to_have_attribute("href", address)
        expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_fewer_figures_than_the_cursor_has_passed(page: Page, gateway: FakeGateway) -> None:
    """A shorter window leaves no cursor behind its end; who leaves a chart sees its newest figures."""
    page.clock.install()
    page.route("**/v1/live?*", answering(told(points=200)))
    page.goto(f"{gateway.http}/#/live?window=15&paused=1")
    chart = page.get_by_role("img", name="Requests, images")
    line = page.locator(".chart").filter(has=chart).locator(".at")
    expect(line).to_contain_text(":")
    newest = line.inner_text()
    chart.focus()
    page.keyboard.press("End")
    page.evaluate("location.hash = '#/live?window=5&paused=1'")
    expect(page.get_by_label("Window", exact=True)).to_have_value("5")
    expect(line).to_have_text(newest)
    page.keyboard.press("Home")
    expect(line).not_to_have_text(newest)
    page.get_by_label("Window", exact=True).focus()
    expect(line).to_have_text(newest)
