"""Counts inference requests that never reach `Service.infer`: no token, unreadable, too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serve.core.errors import ServeError
from serve.service import Service


@contextmanager
def refusals(service: Service, protocol: str) -> Iterator[None]:
    """Count what is refused inside; the error goes on its way."""
    try:
        yield
    except ServeError as error:
        service.refused(protocol, error)
        raise
