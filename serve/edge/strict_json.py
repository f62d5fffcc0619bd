"""Reading JSON that a stranger wrote: every departure from the standard is the caller's error. Pure.

Python's parser also takes NaN and repeated keys, and raises other errors than its own at numbers of
thousands of digits and at deep nesting.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from serve.core.errors import InvalidRequestError, TooLargeError
from serve.core.messages import Parameter
from serve.edge.tensors import show

# Parsing holds up every other caller and takes many times the text's memory; binary tensor data does not.
MAX_JSON_BYTES = 8 << 20
# An 8 MiB image in base64 is one value, and cheap; as many bytes of numbers are four million.
MAX_JSON_VALUES = 1 << 20

_INTEGERS = range(-(2**63), 2**64)


def loads_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        InvalidRequestError: The bytes are not one JSON object in UTF-8, or one repeats a key.
        TooLargeError: They are more than `MAX_JSON_BYTES`, or hold more than `MAX_JSON_VALUES`.
    """
    if len(text) > MAX_JSON_BYTES:
        raise TooLargeError(
            f"body: {len(text)} bytes of JSON, at most {MAX_JSON_BYTES} are read; send tensors as binary data"
        )
    if text.count(b",") >= MAX_JSON_VALUES:
        raise TooLargeError(
            f"body: more than {MAX_JSON_VALUES} values of JSON, as many are read; send tensors as binary data"
        )
    try:
        value = json.loads(text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as err:
        raise InvalidRequestError(f"body: not UTF-8 at byte {err.start}") from None
    except RecursionError:
        raise InvalidRequestError("body: JSON nested too deeply") from None
    except ValueError as err:
        where = (
            f"{err.msg} at character {err.pos}"
            if isinstance(err, json.JSONDecodeError)
            else "a number is too long"
        )
        raise InvalidRequestError(f"body: not JSON, {where}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError(f"body: must be a JSON object, is {_KINDS[type(value)]}")
    return value


def get_text(fields: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """Take a string; without `default` it must be there.

    Raises:
        InvalidRequestError: It is missing, no string, or holds half a surrogate pair.
    """
    value = fields.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        _wrong(where, key, value, "a string")
    return checked_text(value, f"{where}{key}")


def get_list(fields: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Take a list that must be there.

    Raises:
        InvalidRequestError: It is missing or no list.
    """
    value = fields.get(key)
    if not isinstance(value, list):
        _wrong(where, key, value, "a list")
    return value


def get_objects(fields: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Take a list of objects; empty when it is missing or null.

    Raises:
        InvalidRequestError: It is something else.
    """
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        _wrong("", key, value, "a list of objects")
    return value


def get_parameters(fields: Mapping[str, Any], where: str) -> dict[str, Parameter]:
    """Take the object `parameters`; empty when it is missing or null.

    Raises:
        InvalidRequestError: It is no object, or a value is none of boolean, string, finite number and
            64-bit integer.
    """
    value = fields.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        _wrong(where, "parameters", value, "an object")
    return {
        checked_text(key, f"{where}parameters"): _parameter(item, f"{where}parameters[{show(key)}]")
        for key, item in value.items()
    }


def checked_text(value: str, what: str) -> str:
    r"""Check that a string can be written as UTF-8; JSON's \ud800 alone cannot.

    Raises:
        InvalidRequestError: It cannot.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{what}: half a surrogate pair is not text") from None
    return value


def _parameter(value: object, what: str) -> Parameter:
    if isinstance(value, str):
        return checked_text(value, what)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in _INTEGERS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidRequestError(
        f"{what}: is {show(value)}, must be a boolean, a string, a finite number or a 64-bit integer"
    )


def _wrong(where: str, key: str, value: object, kind: str) -> NoReturn:
    found = "is missing" if value is None else f"is {_KINDS[type(value)]}"
    raise InvalidRequestError(f"{where}{key}: {found}, must be {kind}")


_KINDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequestError(f"body: JSON has no {name}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        (repeated, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise InvalidRequestError(f"body: key {show(repeated)} is given twice")
    return fields
