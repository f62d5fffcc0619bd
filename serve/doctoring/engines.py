"""Checks of engines that run elsewhere."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

from serve.discovery import Address
from serve.doctoring.finding import Finding, Patient, error, info, warning
from serve.settings import is_loopback

CONNECT_TIMEOUT_S = 2.0


def reachable(patient: Patient) -> Iterator[Finding]:
    """Whether each host name can be looked up, and each of its addresses be connected to."""
    for engine in patient.config.engines:
        address = Address.parse(engine.address)
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            yield error(
                f"engine {engine.address}: the host name cannot be looked up",
                "Its models cannot be answered.",
                "Mend the name, or the name server.",
            )
            continue
        places = {place[:2] for *_, place in found}
        silent = sorted(str(host) for host, port in places if not _answers(str(host), int(port)))
        if silent:
            yield warning(
                f"engine {engine.address}: nobody answers at {', '.join(silent)}",
                "Its models are answered by other engines, or not at all.",
                "Start it, or let the gateway through to it.",
            )


def spare(patient: Patient) -> Iterator[Finding]:
    """Whether every model is left when one engine goes; a host name may stand for several."""
    held = Counter(name for engine in patient.config.engines for name in engine.names)
    by_number = [engine for engine in patient.config.engines if Address.parse(engine.address).is_number]
    alone = sorted(name for engine in by_number for name in engine.names if held[name] == 1)
    if alone:
        yield info(
            f"only one engine holds {', '.join(alone)}",
            "While it is down or restarts, these cannot be answered.",
            "List a second engine with them.",
        )


def plain(patient: Patient) -> Iterator[Finding]:
    """Whether what goes to the engines can be listened to."""
    hosts = {Address.parse(engine.address).host for engine in patient.config.engines}
    far = sorted(host for host in hosts if not is_loopback(host))
    if far:
        yield info(
            f"images travel in plain text to {', '.join(far)}",
            "TorchServe's gRPC port has no TLS here and asks for no token.",
            "Keep these ports in a network of their own, open to the gateway only (NetworkPolicy).",
        )


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
