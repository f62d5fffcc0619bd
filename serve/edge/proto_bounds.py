"""How much a protobuf message would become in memory, counted on its bytes before they are parsed. Pure.

Two bytes can make an empty sub-message of a hundred, and one a number of eight, so that a message within the
size limit could take gigabytes, and the parser many seconds, in which nobody else is served. The bytes that
hold images or raw tensors are stepped over, which takes no time.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from serve.core.errors import TooLargeError

# Fields of all sub-messages together; a request of a thousand images has a thousand and some.
MAX_FIELDS = 1 << 14
# The same for ten thousand outcomes or labels, of up to four fields each.
MAX_BULK_FIELDS = 1 << 16
# Numbers in typed contents, each of which becomes an object of Python's; raw tensors are no such numbers.
MAX_NUMBERS = 1 << 20

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4, _GROUP: 0, _END_GROUP: 0}
_MAX_VARINT_BYTES = 10

# What the bytes of a field are, by its number: a message with fields of its own, or numbers to be counted.
_Content: TypeAlias = "_Plan | Callable[[memoryview], int]"
_Plan: TypeAlias = Mapping[int, _Content]


def check_bounds(kind: type[Message], data: bytes, max_fields: int | None = None) -> None:
    """Refuse a message that would become too large; what is no message is the parser's to refuse.

    Raises:
        TooLargeError: More than `max_fields`, which is `MAX_FIELDS` where none are given, or `MAX_NUMBERS`.
    """
    most = MAX_FIELDS if max_fields is None else max_fields
    if len(data) > most:
        _Count(kind, data, most).finish()


class _Count:
    """Fields and numbers of one message, sub-messages included."""

    def __init__(self, kind: type[Message], data: bytes, max_fields: int) -> None:
        self._max_fields = max_fields
        self._fields = 0
        self._numbers = 0
        self._left = [(memoryview(data), _plan(kind.DESCRIPTOR))]

    def finish(self) -> None:
        while self._left:
            data, plan = self._left.pop()
            position = 0
            # What ends within a field is an error to the parser, but what it found before takes memory.
            with contextlib.suppress(IndexError):
                while position < len(data):
                    position = self._field(data, position, plan)

    def _field(self, data: memoryview, position: int, plan: _Plan) -> int:
        """Count the field at `position`; gives where it ends."""
        self._fields += 1
        self._check()
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            return _varint(data, position)[1]
        if kind != _BYTES:
            return position + _FIXED_SIZES.get(kind, len(data))
        length, position = _varint(data, position)
        self._enter(data[position : position + length], plan.get(tag >> 3))
        return position + length

    def _enter(self, content: memoryview, plan: _Content | None) -> None:
        if isinstance(plan, Mapping):
            self._left.append((content, plan))
        elif plan:
            self._numbers += plan(content)
            self._check()

    def _check(self) -> None:
        if self._fields > self._max_fields or self._numbers > MAX_NUMBERS:
            raise TooLargeError(
                f"the message has more than {self._max_fields} fields or {MAX_NUMBERS} typed numbers; "
                "send tensors as raw contents"
            )


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  the bit that says that more follow
            return value, position + index + 1
    raise IndexError


@cache
def _plan(kind: Any) -> _Plan:  # noqa: ANN401  a descriptor, of one of two classes
    plan: dict[int, _Content] = {}
    for field in kind.fields:
        if field.message_type:
            plan[field.number] = _plan(field.message_type)
        elif field.is_repeated and field.type in _COUNTERS:
            plan[field.number] = _COUNTERS[field.type]
    return plan


def _varints(data: memoryview) -> int:
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))  # noqa: PLR2004  as above


_COUNTERS: Mapping[int, Callable[[memoryview], int]] = {
    FieldDescriptor.TYPE_BOOL: _varints,
    FieldDescriptor.TYPE_INT32: _varints,
    FieldDescriptor.TYPE_INT64: _varints,
    FieldDescriptor.TYPE_UINT32: _varints,
    FieldDescriptor.TYPE_UINT64: _varints,
    FieldDescriptor.TYPE_FLOAT: lambda data: len(data) // 4,
    FieldDescriptor.TYPE_DOUBLE: lambda data: len(data) // 8,
}
