"""One gateway for all rows of a module's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from tests.conformance.gateway import Gateway, gateway


@pytest.fixture(autouse=True, scope="module")
def plain_logs() -> Iterator[None]:
    """Log tracebacks as plain text: the default draws every variable, which takes seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Gateway]:
    """Give the gateway that the tests of a module share; they leave it as they found it."""
    async with gateway() as opened:
        yield opened
