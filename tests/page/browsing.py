"""Pages of a browser, and whatever the browser complains of while a test looks at them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebError,
    expect,
)

OpenPage = Callable[..., Page]
Theme = Literal["light", "dark"]

NARROW = 390  # pixels, a telephone held upright
_WIDE = 1280
_HEIGHT = 800
_LOOPBACK = "127.0.0.1"
_BAD = 400
# A breach is on the console, too, but in words that differ from one directive to the next.
_TELL_BREACHES = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI} ${event.sample}`);
});
"""


class Watch:
    """Gathers complaints."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._allowed: list[str] = []
        self._contexts: list[BrowserContext] = []

    def allow(self, pattern: str) -> None:
        """Say that complaints in which a regular expression is found are meant to be."""
        self._allowed.append(pattern)

    def complaints(self) -> list[str]:
        """All that was heard, but for what is allowed."""
        return [one for one in self._heard if not any(re.search(allowed, one) for allowed in self._allowed)]

    def settle(self) -> None:
        """Let what the browser has said so far arrive."""
        for context in self._contexts:
            for page in context.pages:
                page.evaluate("0")

    def over(self, context: BrowserContext) -> None:
        """Listen to everything in a context."""
        self._contexts.append(context)
        context.add_init_script(_TELL_BREACHES)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("request", self._request)
        context.on("requestfailed", self._failed)
        context.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # Answers from 400 on are heard of by themselves, with the method.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._heard.append(f"console: {message.text}")

    def _error(self, error: WebError) -> None:
        self._heard.append(f"uncaught: {error.error}")

    def _request(self, request: Request) -> None:
        asked, home = urlsplit(request.url), urlsplit(request.frame.page.url)
        if asked.scheme in ("data", "blob"):
            return
        leads_away = asked.hostname != _LOOPBACK if request.is_navigation_request() else False
        if leads_away or (not request.is_navigation_request() and asked.netloc != home.netloc):
            self._heard.append(f"another origin: {request.method} {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # as a view does that is left before its answer is there
            self._heard.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= _BAD:
            self._heard.append(f"answer: {response.status} to {response.request.method} {response.url}")


def settle(page: Page) -> None:
    """Wait until a view is there, and nothing in it is loading, but for images that lie out of sight."""
    expect(page.locator("main h1, main [role=alert]").first).to_be_visible()
    expect(page.locator("[aria-busy=true]:not(.picture)")).to_have_count(0)


def opener(browser: Browser, watch: Watch, contexts: ExitStack) -> OpenPage:
    """A function that opens a blank page.

    Args:
        browser: In which.
        watch: Hears of it.
        contexts: Closes it in the end.
    """

    def open_page(*, theme: Theme = "light", width: int = _WIDE, height: int = _HEIGHT) -> Page:
        context = browser.new_context(
            color_scheme=theme,
            viewport={"width": width, "height": height},
            locale="en-GB",
            timezone_id="Asia/Kolkata",  # half an hour off: a zone that is forgotten is seen
            reduced_motion="reduce",  # what moves has no colour that could be judged
        )
        contexts.callback(context.close)
        watch.over(context)
        return context.new_page()

    return open_page
