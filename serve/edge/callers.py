"""How a caller says who it is: an authorization, or the name in the certificate with which it came.

That is its common name, else its first alternative name; TLS has checked by then that one of our
authorities signed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from serve.core.errors import UnauthenticatedError

# Kinds of alternative names, as Python and as gRPC call them. Addresses are no names, and each writes them
# in its own way.
KINDS = frozenset({"DNS", "URI", "email"})
PROPERTIES = ("peer_dns", "peer_uri", "peer_email")


def only_one(authorizations: Sequence[str]) -> str | None:
    """The authorization of a request; None where there is none.

    Raises:
        UnauthenticatedError: There are several: what stands in front of us may have looked at another one.
    """
    if len(authorizations) > 1:
        raise UnauthenticatedError("authorization: is given twice, a request has one")
    return next(iter(authorizations), None)


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
