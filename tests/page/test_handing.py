"""Images that are handed to the playground, files that are none, and a gateway that is gone for a while."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.browsing import Watch
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.handing import Way, hand, walk_to
from tests.page.samples import sample

TWO = "playground?models=digits_plain,digits_se"


def first_guess(page: Page, model: str) -> Locator:
    """What a model says first."""
    return page.get_by_role("article", name=model, exact=True).get_by_role("listitem").first


def test_an_image_is_dropped_and_another_pasted(page: Page, gateway: FakeGateway) -> None:
    """Each model answers for the one, then for the other; what is held over the page is seen."""
    page.goto(f"{gateway.http}/#/{TWO}")
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    hand(page, "dragover", sample("7"))
    hand(page, "drop", sample("7"), "seven.png")
    for model in ("digits_plain", "digits_se"):
        expect(first_guess(page, model)).to_contain_text("7")
    expect(page.get_by_text("seven.png", exact=True)).to_be_visible()
    hand(page, "paste", sample("3"), "image.png")
    for model in ("digits_plain", "digits_se"):
        expect(first_guess(page, model)).to_contain_text("3")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_file_that_is_no_image_is_named_in_words(
    page: Page, gateway: FakeGateway, watch: Watch, way: Way
) -> None:
    """Text that is called .png: the sentence says what is wrong; an empty file is not even sent."""
    watch.allow("^answer: 400 to POST ")
    page.goto(f"{gateway.http}/#/{TWO}")
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    hand(page, way, b"this is text\n", "notes.png")
    expect(page.get_by_role("alert")).to_contain_text("no known image format")
    hand(page, way, b"", "empty.png")
    expect(page.get_by_role("alert")).to_contain_text("empty")
    hand(page, way, sample("5"), "five.png")
    expect(first_guess(page, "digits_se")).to_contain_text("5")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_gateway_that_is_lost_and_comes_back(page: Page, start_gateway: StartGateway, watch: Watch) -> None:
    """It is said in words that nobody answers, what was there stays, and it goes on without a reload."""
    watch.allow("^failed: .*ERR_CONNECTION_REFUSED")
    gateway = start_gateway()
    page.goto(f"{gateway.http}/#/{TWO}&sample=7-0.png")
    expect(first_guess(page, "digits_se")).to_contain_text("7")
    gateway.lose()
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_role("alert").first).to_contain_text("The gateway does not answer")
    expect(page.get_by_role("heading", name="Playground")).to_be_visible()
    gateway.come_back()
    page.get_by_role("button", name="Ask again").click()
    expect(first_guess(page, "digits_se")).to_contain_text("7")


def test_a_live_view_outlives_the_gateway(page: Page, start_gateway: StartGateway, watch: Watch) -> None:
    """It says that nobody answers, and goes on by itself when somebody does."""
    watch.allow("^failed: .*ERR_CONNECTION_REFUSED")
    gateway = start_gateway()
    page.goto(f"{gateway.http}/#/live")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    gateway.lose()
    expect(page.get_by_role("alert").first).to_contain_text("The gateway does not answer")
    gateway.come_back()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_image_is_tried_with_the_keyboard_alone(page: Page, gateway: FakeGateway) -> None:
    """From the top of the page to a sample and its answers; the focus is seen at every stop."""
    page.goto(f"{gateway.http}/#/models")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    walk_to(page, page.get_by_role("link", name="Skip to the content"))
    walk_to(page, page.get_by_role("navigation").get_by_role("link", name="Playground"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    walk_to(page, page.get_by_role("button", name="Sample 7-0.png"))
    page.keyboard.press("Space")
    expect(first_guess(page, "digits_se")).to_contain_text("7")
    expect(first_guess(page, "digits_plain")).to_be_visible()
    walk_to(page, page.get_by_role("checkbox", name="digits_plain"))
    page.keyboard.press("Space")
    expect(page.get_by_role("article", name="digits_plain")).to_have_count(0)
    assert "sample=7-0.png" in page.url
