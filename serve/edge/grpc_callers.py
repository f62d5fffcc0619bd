"""Who calls over gRPC, until when, and for whom: read from the call's metadata and its connection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import cast

from serve.core.access import ANONYMOUS, Access, Role
from serve.core.call import Call
from serve.core.trace import Trace
from serve.edge.callers import UNIT, name_from_grpc, only_one, only_unit
from serve.edge.grpc_reading import Context

Metadata = Iterable[tuple[str, str | bytes]]


def call_of(context: Context, access: Access, needs: Role | None, trace: Trace | None = None) -> Call:
    """The circumstances of a call whose caller is let in.

    Args:
        context: Of the call.
        access: Who may ask for what.
        needs: The role that it takes; None: it is open to all.
        trace: Of the request, where it has one.

    Raises:
        ServeError: Its caller is not let in, or its unit breaks a rule.
    """
    metadata = context.invocation_metadata() or ()
    principal = ANONYMOUS if needs is None else _authorize(context, metadata, access, needs)
    remaining = cast("float | None", context.time_remaining())  # None without one, whatever the stubs say
    deadline = None if remaining is None else time.monotonic() + remaining
    unit = None if needs is None else only_unit(_values(metadata, UNIT))
    kept = trace if trace is not None and trace.sampled else None
    return Call(protocol="grpc", deadline=deadline, principal=principal, unit=unit, trace=kept)


def _authorize(context: Context, metadata: Metadata, access: Access, needs: Role) -> str:
    # gRPC takes a while to say who is at the other end.
    certificate = name_from_grpc(context.auth_context()) if access.asks_certificate else None
    return access.authorize(only_one(_values(metadata, "authorization")), needs, certificate, now=time.time())


def _values(metadata: Metadata, name: str) -> list[str]:
    return [str(value) for key, value in metadata if key == name]
