"""Takes the raw tensors out of an inference request before it is parsed. Pure.

protobuf's parser copies them, and reading them from the message copies them once more; here they stay where
they are. The rest is small, and the parser's own matter. Whatever is not quite as clients write it goes to
the parser whole.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final, NamedTuple

from serve.edge.proto_bounds import MAX_FIELDS
from serve.pb import open_inference_pb2 as pb

# More would go to the parser whole, which counts them.
MAX_RAW: Final = 256
# Of so many bytes, with so many raw tensors beside them, no message has more than `MAX_FIELDS` fields.
_MAX_HEAD: Final = MAX_FIELDS - MAX_RAW

_BYTES: Final = 2  # the wire type of texts, bytes and messages: a length, and so many bytes
_RAW_TAG: Final = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | _BYTES
_MORE: Final = 0x80  # in each byte of a number but its last one
_MAX_LENGTH_BYTES: Final = 4


class Split(NamedTuple):
    """A message without its raw tensors, and these; they share memory with the message."""

    head: bytes
    raw: list[memoryview]


def without_raw(data: bytes) -> Split | None:
    """Take `raw_input_contents` out of a `ModelInferRequest`; None where the parser has to see all of it."""
    raw: list[memoryview] = []
    head: list[memoryview] = []
    view, at, left = memoryview(data), 0, _MAX_HEAD
    while at < len(data):
        tag = data[at]
        found = _length(data, at + 1) if tag & 7 == _BYTES and tag < _MORE else None
        if found is None or len(raw) == MAX_RAW:
            return None
        length, start = found
        end = start + length
        if end > len(data):
            return None
        if tag == _RAW_TAG:
            raw.append(view[start:end])
        elif (left := left - (end - at)) >= 0:
            head.append(view[at:end])
        else:  # at once: two bytes are a field, and each would become an object here
            return None
        at = end
    return Split(b"".join(head), raw)


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """The number at that place, and where it ends; None where it has no end, or is too long to be a size."""
    length = 0
    for index, byte in enumerate(data[at : at + _MAX_LENGTH_BYTES]):
        length |= (byte & ~_MORE) << 7 * index
        if byte < _MORE:
            return length, at + index + 1
    return None
