"""Tells the service of calls that never reach it: no token, the wrong role, unreadable, too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from serve.audit import Act
from serve.core.errors import ForbiddenError, ServeError
from serve.service import Service


@contextmanager
def refusals(service: Service, protocol: str) -> Iterator[None]:
    """Count an inference request that is refused inside; the error goes on its way."""
    try:
        yield
    except ServeError as error:
        service.refused(protocol, error)
        raise


@contextmanager
def denials(service: Service, act: Act) -> Iterator[None]:
    """Take down an administrative act that fails inside, before it begins; the error goes on its way."""
    try:
        yield
    except ForbiddenError as error:
        service.denied(replace(act, principal=error.principal), error)
        raise
    except ServeError as error:
        service.denied(act, error)
        raise
