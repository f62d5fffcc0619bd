"""Loading and unloading as acts: what a caller may say along with them, and what the audit keeps of it."""

from __future__ import annotations

from collections.abc import Mapping

from serve.audit import LONGEST_TEXT, Act
from serve.core.call import Call
from serve.core.errors import InvalidRequestError, UnsupportedError
from serve.core.messages import Parameter

REASON = "reason"

Parameters = Mapping[str, Parameter | bytes]


def act_on_model(name: str, model: str, parameters: Parameters, call: Call) -> Act:
    """What the audit takes down: the reason in full, of other parameters their names only."""
    reason = parameters.get(REASON, "")
    return Act(
        name=name,
        target=model,
        principal=call.principal,
        protocol=call.protocol,
        reason=reason.strip() if isinstance(reason, str) else "",
        parameters=tuple(sorted(set(parameters) - {REASON})),
    )


def check_parameters(parameters: Parameters, allowed: tuple[str, ...] = ()) -> None:
    """See that nothing is asked for that is not offered.

    Args:
        parameters: What came along; a reason always may.
        allowed: Names of others that may.

    Raises:
        UnsupportedError: There is another one: a client's own configuration or files would be a client's own
            code in the worker.
        InvalidRequestError: The reason is no text, or longer than the audit keeps.
    """
    for name in parameters:
        if name not in (REASON, *allowed):
            raise UnsupportedError(
                f"parameter {name!r} is not supported: models come from the server's model store only"
            )
    reason = parameters.get(REASON, "")
    if not isinstance(reason, str):
        raise InvalidRequestError(f"parameter {REASON!r}: is {type(reason).__name__}, must be text")
    if len(reason) > LONGEST_TEXT:
        raise InvalidRequestError(
            f"parameter {REASON!r}: has {len(reason)} characters, at most {LONGEST_TEXT} are kept"
        )
