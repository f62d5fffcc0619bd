"""OpenTelemetry tracing: off unless a collector is named; nothing else in the gateway knows the library."""

from __future__ import annotations

from typing import Protocol

from serve.config import ConfigError
from serve.core.trace import Tracer
from serve.sections import TracingConfig


class Tracing(Tracer, Protocol):
    """A tracer that sends its traces to a collector."""

    def start(self) -> None:
        """Begin to send.

        Raises:
            ConfigError: A variable of the library, OTEL_*, has a value that it does not take.
        """
        ...

    async def close(self, timeout_s: float) -> None:
        """Send what has not been sent, for at most that many seconds, and end."""
        ...


def build_tracing(given: TracingConfig, version: str) -> Tracing | None:
    """What traces the requests of this gateway; None: nothing does, and the library is not even loaded.

    Args:
        given: Where traces go, and of how many requests.
        version: Of this server.

    Raises:
        ConfigError: A collector is named, and the library is missing or does not take a variable of its own.
    """
    if not given.endpoint:
        return None
    try:
        from serve.tracing.tracer import OtelTracing  # noqa: PLC0415  an extra, which most do without
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracing.endpoint is {given.endpoint!r}, and {error.name} is not installed: "
            "pip install 'attnserve[tracing]'"
        ) from None
    except ValueError as error:  # it reads some of its variables, OTEL_*, as it is loaded
        raise ConfigError(f"tracing: {error}") from None
    return OtelTracing(given, version)
