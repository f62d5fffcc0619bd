"""The whole stack as its users meet it: programs, sockets, files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.demo import Demo, build_demo
from tests.e2e.stacks import Stack, StartStack, started
from tests.e2e.stock import StockTorchServe, stock_torchserve


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is the test's own: the first one also builds the demo, whose steps have limits."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(120, func_only=True))


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="session")
def stack(demo: Demo) -> Iterator[Stack]:
    """A ready gateway with the demo's four models, as `make serve` starts it: with a tour of the samples.

    It ends by SIGTERM, and must leave nothing behind.
    """
    with started({"ATTNSERVE_MODEL_STORE": str(demo.archives)}, "--tour", str(demo.samples)) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


@pytest.fixture
def start_stack(demo: Demo) -> Iterator[StartStack]:
    """A function that starts a gateway with settings (http_port=0 is ATTNSERVE_HTTP_PORT=0) and options.

    By default it serves one model, which is the quickest. It is killed at the end, if it still runs.
    """
    with ExitStack() as running:

        def start(
            *options: str, ready: bool = True, variables: dict[str, str] | None = None, **settings: object
        ) -> Stack:
            defaults = {"model_store": demo.archives, "models": '["digits_se"]'}
            named = {f"ATTNSERVE_{key.upper()}": str(value) for key, value in (defaults | settings).items()}
            one = running.enter_context(started(named | (variables or {}), *options))
            if ready:
                one.wait_ready()
            return one

        yield start


@pytest.fixture(scope="session")
def torchserve(demo: Demo) -> Iterator[StockTorchServe]:
    """A stock TorchServe that serves digits_se."""
    with stock_torchserve(demo.archives, "digits_se") as running:
        yield running
