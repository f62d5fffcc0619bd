"""One gateway for all attacks: what an earlier one left behind, a later one would suffer from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.hostile.target import Neighbour, Target, neighbour, started

MAX_GROWTH_BYTES = 150 << 20


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway over the fake engine.

    After all attacks it still runs, has counted no fault of its own, logged none, and is of bounded size.
    """
    with started(tmp_path_factory.mktemp("target")) as running:
        before = running.resident_bytes
        yield running
        assert running.process.is_running()
        assert running.sample("attnserve_requests_total", outcome="internal") == 0
        assert "internal_error" not in running.log()
        assert "Traceback" not in running.log()
        assert running.resident_bytes - before < MAX_GROWTH_BYTES


@pytest.fixture
async def beside(target: Target) -> AsyncIterator[Neighbour]:
    """A neighbour who is served all through the test."""
    async with neighbour(target) as asking:
        yield asking
