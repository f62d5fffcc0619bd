"""Debian's Chromium, without a window, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

PROGRAM: Final = "chromium"
# No name but loopback's is found: a page that asks for the world fails at once, and without a network.
_OPTIONS: Final = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",)


class BrowserError(Exception):
    """There is no browser, or the page did not come to what was waited for."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it, and end it. Meanwhile this thread has an event loop that runs: it can run no other.

    Raises:
        BrowserError: It is not on PATH.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BrowserError(f"{PROGRAM} is not on PATH; on Debian and Ubuntu: apt install {PROGRAM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()
