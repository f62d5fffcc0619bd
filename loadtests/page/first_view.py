"""How long a view takes to be usable, with nothing kept from before, and how many bytes travel for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from playwright.sync_api import Browser, Error

from loadtests.page.chromium import BrowserError

PATIENCE_MS: Final = 30_000
# Usable: the view's heading is there and nothing in it says any more that it is loading, at the next frame.
_WATCH: Final = """
window.usable = new Promise((resolve) => {
  const look = () => {
    if (!document.querySelector("main h1") || document.querySelector("[aria-busy=true]")) return;
    observer.disconnect();
    requestAnimationFrame(() => resolve(performance.now()));
  };
  const observer = new MutationObserver(look);
  observer.observe(document, { subtree: true, childList: true, attributes: true });
});
window.painted = new Promise((resolve) => {
  new PerformanceObserver((list) => {
    const [first] = list.getEntriesByName("first-contentful-paint");
    if (first) resolve(first.startTime);
  }).observe({ type: "paint", buffered: true });
});
"""
# Playwright's own way of waiting evaluates strings, which the page's policy forbids.
_WAIT: Final = f"""
Promise.race([
  Promise.all([window.painted, window.usable]),
  new Promise((_, refuse) => setTimeout(() => refuse(new Error("not usable in time")), {PATIENCE_MS})),
])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One opening of a view.

    Attributes:
        paint_ms: From the start of the navigation to the first content on the screen.
        usable_ms: To the view being there with its data.
        requests: Files and answers that were fetched.
        received_bytes: Of all of them with their headers, as they came over the wire.
    """

    paint_ms: float
    usable_ms: float
    requests: int
    received_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    """Those of one view, in the order in which they were made."""

    view: str
    taken: tuple[Opening, ...]

    def median(self, figure: str) -> float:
        """Of one of the attributes of `Opening`."""
        return float(median(getattr(opening, figure) for opening in self.taken))


def openings(
    browser: Browser, views: Mapping[str, str], rounds: int, before: Callable[[str], None]
) -> Sequence[Openings]:
    """Open all views so many times, in turns: a machine that becomes busier does so for all.

    Args:
        browser: Every opening has a context of its own in it, with empty caches.
        views: Address by name.
        rounds: How often each is opened.
        before: Called with the view's name before it is opened.

    Raises:
        BrowserError: A view did not become usable.
    """
    taken: dict[str, list[Opening]] = {view: [] for view in views}
    for _ in range(rounds):
        for view, address in views.items():
            before(view)
            taken[view].append(_opened(browser, view, address))
    return [Openings(view=view, taken=tuple(found)) for view, found in taken.items()]


def _opened(browser: Browser, view: str, address: str) -> Opening:
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(_WATCH)
        finished: list[Mapping[str, Any]] = []

        def keep(event: Mapping[str, Any]) -> None:
            finished.append(event)

        session = context.new_cdp_session(page)
        session.on("Network.loadingFinished", keep)
        session.send("Network.enable")
        try:
            page.goto(address)
            paint_ms, usable_ms = page.evaluate(_WAIT)
        except Error as error:
            raise BrowserError(f"{view}: {error.message}") from None
        return Opening(
            paint_ms=paint_ms,
            usable_ms=usable_ms,
            requests=len(finished),
            received_bytes=sum(round(one["encodedDataLength"]) for one in finished),
        )
