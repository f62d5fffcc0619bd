"""The tests' own tools: a complaint of the browser is heard, and a rule that is broken is named."""

from __future__ import annotations

from playwright.sync_api import Page, Route

from tests.page.axe import axe
from tests.page.browsing import Watch
from tests.page.gateways import FakeGateway

_POLICY = {"Content-Security-Policy": "default-src 'none'; script-src 'self'"}


def _served(page: Page, gateway: FakeGateway, body: str, scripts: str = "") -> None:
    """Open a document that stands in for the page, with a script of its own."""

    def answer(route: Route) -> None:
        if route.request.url.endswith("script.js"):
            route.fulfill(body=scripts, content_type="text/javascript")
        else:
            route.fulfill(body=body, content_type="text/html", headers=_POLICY)

    page.route("**/stand-in/**", answer)
    page.goto(f"{gateway.http}/stand-in/")


def test_every_sort_of_complaint_is_heard(page: Page, watch: Watch, gateway: FakeGateway) -> None:
    """A thrown error, an inline style, a missing file, another origin: each is told, and can be allowed."""
    script = (
        "fetch('/v2/models/none').catch(() => 0);"
        "fetch('http://example.invalid/').catch(() => 0);"
        "console.error('mine'); setTimeout(() => { throw new Error('thrown') });"
    )
    with page.context.expect_event("weberror"):
        _served(page, gateway, '<p style="color: red">x</p><script src="script.js"></script>', script)
    watch.settle()
    heard = "\n".join(watch.complaints())
    for told in ("uncaught: thrown", "console: mine", "policy: style-src-attr", "policy: connect-src"):
        assert told in heard
    watch.allow("^(uncaught|console|policy|answer|failed|another origin)")
    assert watch.complaints() == []


def test_axe_names_what_is_wrong(page: Page, gateway: FakeGateway) -> None:
    """A picture without a text for those who do not see it breaks a rule, under a strict policy, too."""
    _served(page, gateway, "<html lang=en><title>x</title><main><h1>x</h1><img width=9></main>")
    (found,) = (one for one in axe(page) if one.startswith("image-alt"))
    assert "<img" in found
