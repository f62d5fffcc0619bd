"""How a caller says who it is: an authorization, or the name in the certificate with which it came.

That is its common name, else its first alternative name; TLS has checked by then that one of our
authorities signed it. For whom it asks is another matter: experiments assign units.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from serve.core.errors import InvalidRequestError, UnauthenticatedError
from serve.edge.tensors import show

# Kinds of alternative names, as Python and as gRPC call them. Addresses are no names, and each writes them
# in its own way.
KINDS = frozenset({"DNS", "URI", "email"})
PROPERTIES = ("peer_dns", "peer_uri", "peer_email")
# The header, or metadata, that names the unit; and how many characters that may have.
UNIT = "x-unit-id"
MAX_UNIT_CHARACTERS = 512


def only_one(authorizations: Sequence[str]) -> str | None:
    """The authorization of a request; None where there is none.

    Raises:
        UnauthenticatedError: There are several: what stands in front of us may have looked at another one.
    """
    if len(authorizations) > 1:
        raise UnauthenticatedError("authorization: is given twice, a request has one")
    return next(iter(authorizations), None)


def only_unit(units: Sequence[str]) -> str | None:
    """The unit of a request; None where there is none.

    Raises:
        InvalidRequestError: There are several, or it is not 1 to `MAX_UNIT_CHARACTERS` printable characters.
    """
    if not units:
        return None
    unit = units[0]
    if len(units) > 1:
        raise InvalidRequestError(f"{UNIT}: is given {len(units)} times, a request has one unit")
    if not 0 < len(unit) <= MAX_UNIT_CHARACTERS or not unit.isprintable():
        raise InvalidRequestError(
            f"{UNIT}: is {show(unit)}, must be 1 to {MAX_UNIT_CHARACTERS} printable characters"
        )
    return unit


def unit_from_header(values: Sequence[str]) -> str | None:
    """The unit of a REST request, as `only_unit`; what HTTP servers take for Latin-1 is read as UTF-8."""
    try:
        return only_unit([value.encode("latin-1").decode() for value in values])
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{UNIT}: is {show(values[0])}, must be UTF-8") from None


def name_from_grpc(context: Mapping[str, Iterable[bytes]]) -> str | None:
    """Read what gRPC calls the authentication context; None where there is no name, or no TLS."""
    known = {name for key in PROPERTIES for name in context.get(key, ())}
    subject = context.get("x509_common_name", ())
    # In the order of the certificate; for kinds that it does not know, gRPC puts a remark there.
    others = (name for name in context.get("x509_subject_alternative_name", ()) if name in known)
    return next((name.decode("utf-8", "replace") for name in (*subject, *others) if name), None)


def name_from_transport(transport: asyncio.BaseTransport) -> str | None:
    """Read what an event loop knows of a connection; None where there is no name, or no TLS."""
    shown = transport.get_extra_info("peercert") or {}
    subject = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    others = [value for kind, value in shown.get("subjectAltName", ()) if kind in KINDS]
    return next((str(name) for name in (*subject, *others) if name), None)
