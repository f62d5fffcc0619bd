"""The name in the certificate with which a caller came: its common name, else its first alternative name.

TLS has checked by then that one of our authorities signed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

# Kinds of alternative names, as Python and as gRPC call them. Addresses are no names, and each writes them
# in its own way.
KINDS = frozenset({"DNS", "URI", "email"})
PROPERTIES = ("peer_dns", "peer_uri", "peer_email")


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
