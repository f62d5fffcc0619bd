"""Two ways to use a page: with a mouse, and with the keyboard alone. A journey is the same for both."""

from __future__ import annotations

from typing import Protocol

from playwright.sync_api import Locator, Page, expect

from tests.page.handing import MOST_STEPS, walk_to


class Way(Protocol):
    """What a person does."""

    def press(self, target: Locator) -> None:
        """A button, a link or a box to tick."""
        ...

    def write(self, target: Locator, text: str) -> None:
        """Into a field, instead of what stands in it."""
        ...

    def choose(self, target: Locator, option: str) -> None:
        """An option of a list, by the text that it shows."""
        ...

    def pick(self, target: Locator) -> None:
        """One of several of which one is chosen: a radio button or a tab."""
        ...


class Mouse:
    """With a mouse, and a keyboard for what is written."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, target: Locator) -> None:
        """See `Way`."""
        target.click()

    def write(self, target: Locator, text: str) -> None:
        """See `Way`."""
        target.fill(text)

    def choose(self, target: Locator, option: str) -> None:
        """See `Way`."""
        target.select_option(label=option)

    def pick(self, target: Locator) -> None:
        """See `Way`."""
        target.click()


class Keyboard:
    """With nothing but keys; every stop must show that it has the focus."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, target: Locator) -> None:
        """See `Way`."""
        ticked = target.get_attribute("type") == "checkbox"
        walk_to(self._page, target)
        self._page.keyboard.press("Space" if ticked else "Enter")

    def write(self, target: Locator, text: str) -> None:
        """See `Way`."""
        walk_to(self._page, target)
        self._page.keyboard.press("Control+A")
        self._page.keyboard.type(text)

    def choose(self, target: Locator, option: str) -> None:
        """See `Way`; the browser goes to the option that begins with what is typed."""
        walk_to(self._page, target)
        self._page.keyboard.type(option)
        expect(target.locator("option:checked")).to_have_text(option)

    def pick(self, target: Locator) -> None:
        """See `Way`; only the chosen one is in the tab order, and arrows lead to the others."""
        role = target.get_attribute("role") or "radio"
        chosen = {"tab": "[role=tab][aria-selected=true]", "radio": "[type=radio]:checked"}[role]
        name = target.get_attribute("name")
        walk_to(self._page, self._page.locator(chosen + (f"[name='{name}']" if name else "")))
        for _ in range(MOST_STEPS):
            if target.is_checked() if role == "radio" else target.get_attribute("aria-selected") == "true":
                return
            self._page.keyboard.press("ArrowRight")
        raise AssertionError(f"the arrow does not lead to {target}")
