"""What an open live view costs the gateway: its CPU time with one, without, with, without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread
from typing import Final

import httpx
import psutil
from playwright.sync_api import Browser, expect

from loadtests.stack import Stack

PATIENCE_MS: Final = 30_000
_STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCost:
    """Shares of a core that the gateway's process used, a pair for each round."""

    without: tuple[float, ...]
    watched: tuple[float, ...]

    @property
    def added(self) -> float:
        """By the view: the median of the rounds' differences."""
        pairs = zip(self.watched, self.without, strict=True)
        return median(watched - without for watched, without in pairs)


def live_cost(browser: Browser, stack: Stack, rounds: int, seconds: float) -> LiveCost:
    """Measure it, in turns.

    Args:
        browser: Opens the view.
        stack: The gateway.
        rounds: Each measures once without and once with an open view.
        seconds: Of each measurement.
    """
    without, watched = [], []
    for _ in range(rounds):
        without.append(_share(stack.pid, seconds))
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"{stack.target.http}/#/live")
            expect(page.locator("main h1")).to_be_visible(timeout=PATIENCE_MS)
            expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
            watched.append(_share(stack.pid, seconds))
    return LiveCost(without=tuple(without), watched=tuple(watched))


@contextmanager
def light_load(http: str, path: str, body: bytes, rate: float) -> Iterator[None]:
    """Ask so many times a second meanwhile, one after the other, so that there is something to see.

    Args:
        http: The gateway.
        path: Where an inference request goes.
        body: The request, JSON.
        rate: Requests a second.
    """
    ended = Event()

    def ask() -> None:
        with httpx.Client(base_url=http, timeout=30, trust_env=False) as client:
            while not ended.wait(1 / rate):
                client.post(path, content=body, headers={"Content-Type": "application/json"})

    thread = Thread(target=ask, name="light load")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_STOP_S)


def _share(pid: int, seconds: float) -> float:
    process = psutil.Process(pid)
    before, begun = process.cpu_times(), time.perf_counter()
    time.sleep(seconds)
    after, took = process.cpu_times(), time.perf_counter() - begun
    return (after.user + after.system - before.user - before.system) / took
