"""The page in front of a real browser: Debian's Chromium, driven by Playwright's synchronous interface.

How to write a test here:

- Tests are plain functions (`def`, never `async def`): Playwright keeps an event loop of its own running in
  this thread for as long as a module's tests last. Talk to a gateway with `Caller` or httpx's synchronous
  client.
- `page` is a fresh page of a fresh context; `open_page(theme="dark", width=NARROW)` makes others. A test
  fails at its end for whatever the browser complained of meanwhile: an error on the console, an exception
  that nobody caught, a breach of the content security policy, an answer from 400 on, a request that failed
  or went to another origin. `watch.allow(PATTERN)` names what a test means to happen.
- `gateway` serves all tests, with a fake engine and an `experiment`: change nothing of it that another test
  could see (an experiment of your own is fine). Who loads and unloads models, or wants tokens or other
  settings, takes `start_gateway`. `stack` has the demo's real nets in a TorchServe, and takes ten seconds.
- Find things as people do: `page.get_by_role`, `page.get_by_label`; wait with `expect`, never by sleeping,
  nor by `wait_for_function`, whose strings the page's policy forbids.
- `axe(page)` from `tests.page.axe` gives the violations of accessibility rules, best none.

Whatever uses the browser is marked slow and as in need of chromium by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from loadtests.page.chromium import PROGRAM, chromium
from tests.e2e.demo import Demo, build_demo
from tests.e2e.stacks import Stack, started
from tests.page.browsing import OpenPage, Watch, opener
from tests.page.caller import Caller
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.samples import write_samples

_HERE = Path(__file__).parent
_MARKS = (pytest.mark.slow, pytest.mark.needs_program(PROGRAM, how="apt install chromium"))

expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the browser; the time limit is the test's own, since the first one starts programs."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.timeout(120, func_only=True))
            for mark in _MARKS if "browser" in getattr(item, "fixturenames", ()) else ():
                item.add_marker(mark)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window.

    One for each module: its loop, which would be in the way of asynchronous tests, ends with the module.
    """
    with chromium() as running:
        yield running


@pytest.fixture
def watch() -> Watch:
    """What the browser complains of during this test."""
    return Watch()


@pytest.fixture
def open_page(browser: Browser, watch: Watch, start_gateway: StartGateway) -> Iterator[OpenPage]:
    """A function that opens a blank page in a context of its own, watched to the end of the test.

    A gateway of the test's own is named so that it ends after the pages that still ask it.
    """
    del start_gateway
    with ExitStack() as contexts:
        yield opener(browser, watch, contexts)
        watch.settle()
    assert watch.complaints() == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A blank page: light, 1280 by 800 pixels."""
    return open_page()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of digits, `LABEL-N.png`."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture(scope="session")
def gateway(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGateway]:
    """A gateway with a fake engine, open to everybody, shared by all tests."""
    one = FakeGateway(tmp_path_factory.mktemp("gateway"), samples)
    with one.running():
        yield one


@pytest.fixture(scope="session")
def experiment(gateway: FakeGateway) -> str:
    """The name of an experiment of the shared gateway: paired, running, with labels and disagreements."""
    with Caller.to(gateway.http) as caller:
        return caller.experiment("se-vs-eca")


@pytest.fixture
def start_gateway(samples: Path, tmp_path: Path) -> Iterator[StartGateway]:
    """A function that starts a gateway of the test's own: `start_gateway(tokens=True, log_level="debug")`."""
    with ExitStack() as running:

        def start(*, hostile: bool = False, tokens: bool = False, **settings: object) -> FakeGateway:
            one = FakeGateway(tmp_path / "gateway", samples, hostile=hostile, tokens=tokens, **settings)
            running.enter_context(one.running())
            return one

        yield start


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="module")
def stack(demo: Demo) -> Iterator[Stack]:
    """A gateway with the demo's four nets in its TorchServe, as `make serve` starts it."""
    with started(
        {"ATTNSERVE_MODEL_STORE": str(demo.archives), "ATTNSERVE_EXPERIMENTS_POLL_INTERVAL_S": "0.5"},
        *("--tour", str(demo.samples)),
    ) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()
