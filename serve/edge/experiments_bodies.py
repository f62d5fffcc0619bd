"""What callers send about experiments, read from JSON: strictly, and with the name that was meant. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from serve.core.errors import InvalidRequestError, TooLargeError
from serve.edge import strict_json as js
from serve.edge.desk import checked_reason
from serve.edge.tensors import show
from serve.experiments.editing import ActRequest
from serve.experiments.outcomes import LabelRow, OutcomeItem

T = TypeVar("T")
Json = dict[str, Any]

# Outcomes or labels in one call: a whole batch is one transaction, which others wait for.
MAX_ROWS = 10_000
# As ETag gives it; on its way, who compresses the answer makes it weak.
_ETAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')
_INT32 = range(2**31)
CREATED = "created"


def decode_design(body: bytes) -> tuple[Json, str]:
    """Read a design, or what changes of one, and the reason beside it.

    Raises:
        InvalidRequestError: It is no object, or the reason is missing. The rest is the desk's matter.
    """
    fields = js.loads_object(body)
    return _design(fields), _reason(fields)


def decode_new_design(body: bytes) -> tuple[Json, str]:
    """Read a design to be made; that it is wanted is reason enough where none is given."""
    fields = js.loads_object(body)
    return _design(fields), _reason(fields) if "reason" in fields else CREATED


def decode_plan(body: bytes) -> Json:
    """Read a design that is only to be planned for, which needs no reason; raises as `decode_design`."""
    return _design(js.loads_object(body))


def decode_act(body: bytes, if_match: str | None, more: Collection[str] = ()) -> ActRequest:
    """Read the body of a transition.

    Args:
        body: JSON.
        if_match: The header, if there is one.
        more: What this act takes beside the reason.

    Raises:
        InvalidRequestError: It breaks a rule.
    """
    fields = js.loads_object(body) if body else {}
    _check_keys(fields, ("reason", *more), "")
    return ActRequest(
        reason=_reason(fields),
        ramp=_number(fields, "ramp", "") if "ramp" in fields else None,
        arm=js.get_text(fields, "arm", "") if "arm" in fields else None,
        if_match=decode_if_match(if_match),
    )


def decode_alias(body: bytes) -> tuple[str, str]:
    """Read what an alias is to point to, and why.

    Raises:
        InvalidRequestError: It breaks a rule.
    """
    fields = js.loads_object(body)
    _check_keys(fields, ("target", "reason"), "")
    return js.get_text(fields, "target", ""), _reason(fields)


def decode_outcomes(body: bytes) -> list[OutcomeItem]:
    """Read outcomes that are told by token.

    Raises:
        InvalidRequestError: It breaks a rule.
        TooLargeError: They are more than `MAX_ROWS`.
    """
    return _rows(body, "outcomes", ("feedback_token", "label", "item"), _outcome)


def decode_labels(body: bytes) -> list[LabelRow]:
    """Read labels that are told by prediction; raises as `decode_outcomes`."""
    return _rows(body, "labels", ("prediction", "item", "label"), _label)


def decode_if_match(header: str | None) -> int | None:
    """Read the version that a change is meant for; None where any will do.

    Raises:
        InvalidRequestError: It is no version in quotes.
    """
    if header is None or header.strip() == "*":
        return None
    found = _ETAG.fullmatch(header.strip())
    if not found:
        raise InvalidRequestError(
            f"If-Match: is {show(header)}, must be one version in quotes, as ETag gives it"
        )
    return int(found[1])


def check_count(count: int, what: str) -> None:
    """Bound what is written in one go.

    Raises:
        TooLargeError: More than `MAX_ROWS`.
    """
    if count > MAX_ROWS:
        raise TooLargeError(f"{what}: are {count}, at most {MAX_ROWS} are taken at once")


def _outcome(fields: Mapping[str, Any], where: str) -> OutcomeItem:
    return OutcomeItem(
        feedback_token=js.get_text(fields, "feedback_token", where),
        label=js.get_text(fields, "label", where),
        item=_number(fields, "item", where) if "item" in fields else 0,
    )


def _label(fields: Mapping[str, Any], where: str) -> LabelRow:
    return LabelRow(
        prediction=js.get_text(fields, "prediction", where),
        item=_number(fields, "item", where) if "item" in fields else 0,
        label=js.get_text(fields, "label", where),
    )


def _rows(
    body: bytes, key: str, known: Collection[str], read: Callable[[Mapping[str, Any], str], T]
) -> list[T]:
    fields = js.loads_object(body)
    _check_keys(fields, (key,), "")
    rows = js.get_list(fields, key, "")
    check_count(len(rows), key)
    found = []
    for index, row in enumerate(rows):
        where = f"{key}[{index}]"
        if not isinstance(row, dict):
            raise InvalidRequestError(f"{where}: is {show(row)}, must be an object")
        _check_keys(row, known, f"{where}.")
        found.append(read(row, f"{where}."))
    return found


def _design(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if key != "reason"}


def _reason(fields: Mapping[str, Any]) -> str:
    return checked_reason(js.get_text(fields, "reason", ""))


def _number(fields: Mapping[str, Any], key: str, where: str) -> int:
    value = fields[key]
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT32:
        raise InvalidRequestError(f"{where}{key}: is {show(value)}, must be a whole number from 0")
    return value


def _check_keys(fields: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in fields:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise InvalidRequestError(f"{where}{show(key)}: is not known; {hint}")
