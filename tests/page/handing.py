"""How a person hands a file to a page, or walks through it with the keyboard alone."""

from __future__ import annotations

import base64
from typing import Literal

from playwright.sync_api import Locator, Page

Way = Literal["dragover", "drop", "paste"]

MOST_STEPS = 150
_HAND = """([way, name, content, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name, { type }));
  const options = { bubbles: true, cancelable: true };
  const event = way === "paste"
    ? new ClipboardEvent(way, { ...options, clipboardData: files })
    : new DragEvent(way, { ...options, dataTransfer: files });
  document.querySelector("main").dispatchEvent(event);
  return event.defaultPrevented;
}"""
_FOCUSED = "(element) => element === document.activeElement"


def hand(
    page: Page,
    way: Way,
    content: bytes,
    name: str = "a.png",
    media_type: str = "image/png",
) -> None:
    """Drop a file on the page, or paste it; the page must take it, and not leave it to the browser."""
    taken = page.evaluate(_HAND, [way, name, base64.b64encode(content).decode(), media_type])
    assert taken, f"{way} is left to the browser, which leads away from the page"


def walk_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press a key until something has the focus, which one must be able to see."""
    for _ in range(MOST_STEPS):
        if target.count() == 1 and target.evaluate(_FOCUSED):
            break
        page.keyboard.press(key)
    assert target.evaluate(_FOCUSED), f"{MOST_STEPS} times {key} do not lead to {target}"
    style = target.evaluate("(element) => getComputedStyle(element).outlineStyle")
    assert style != "none", f"{target} does not show that it has the focus"
