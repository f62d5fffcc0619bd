"""Tells the service of calls that never reach it: no token, the wrong role, unreadable, too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from serve.audit import Act
from serve.core.errors import ForbiddenError, ServeError
from serve.service import Service


@dataclass(frozen=True, slots=True)
class refusals:  # noqa: N801  used as a function; a generator takes several times as long, on each request
    """Count an inference request that is refused inside; the error goes on its way."""

    service: Service
    protocol: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ServeError):
            self.service.refused(self.protocol, error)


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
