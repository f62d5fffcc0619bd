"""What the page does with answers that it cannot draw, and with those that do not come."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.page.browsing import Watch
from tests.page.gateways import FakeGateway

MODELS = re.compile(r"/v1/models$")


def test_a_view_that_cannot_be_drawn_takes_no_other_with_it(page: Page, gateway: FakeGateway) -> None:
    """It is said in words, the other views open, and the view is drawn once its answer makes sense."""
    page.route(MODELS, lambda route: route.fulfill(json={"models": [None]}))
    page.goto(f"{gateway.http}/#/models")
    expect(page.get_by_role("alert")).to_contain_text("This view cannot be drawn")
    page.get_by_role("navigation").get_by_role("link", name="Live").click()
    expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
    page.unroute(MODELS)
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="digits_se", exact=True)).to_be_visible()


def test_an_answer_that_does_not_come_is_given_up(page: Page, gateway: FakeGateway, watch: Watch) -> None:
    """After half a minute it is said in words, and asked for again."""
    watch.allow("^failed: GET .*/v1/models")
    held: list[Route] = []
    page.clock.install()
    page.route(MODELS, lambda route: held.append(route))  # noqa: PLW0108  the library marks what it is given
    with page.expect_request(MODELS):
        page.goto(f"{gateway.http}/#/models")
    page.clock.fast_forward(31_000)
    expect(page.get_by_role("alert")).to_contain_text("has not answered for 30 seconds")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.unroute(MODELS)
    # Unless the page has asked again by itself; `click` would wait for frames, and these stand still.
    page.evaluate("document.querySelector('[role=alert] button')?.click()")
    page.clock.run_for(1_000)
    expect(page.get_by_role("heading", name="digits_se", exact=True)).to_be_visible()
