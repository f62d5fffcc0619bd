"""Load goes to this machine's loopback, unless it is allowed elsewhere by name."""

from __future__ import annotations

import ipaddress
import socket


class ElsewhereError(ValueError):
    """An address is not loopback's, or none at all; the message says which."""


def check_loopback(host: str) -> None:
    """Refuse a host of which any address is another machine's.

    Raises:
        ElsewhereError: It is, or the host has no address.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise ElsewhereError(f"{host!r} has no address: {error}") from None
    outside = sorted(one for one in found if not ipaddress.ip_address(one.partition("%")[0]).is_loopback)
    if outside:
        raise ElsewhereError(
            f"{host} is not on this machine's loopback ({outside[0]}); load on others needs --remote,"
            " and their consent"
        )
