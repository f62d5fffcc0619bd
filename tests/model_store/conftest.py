"""Nets in tests are small: one thread computes them soonest, and leaves the other cores to other work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_store.threads import cpu_threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with cpu_threads(1):
        yield
