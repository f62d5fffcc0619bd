"""Prints the messages of Triton's published client as JSON: name -> field -> number, type, repeated, of what.

A program of its own: its generated `inference` messages cannot live in one process with ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tritonclient.grpc import model_config_pb2, service_pb2


def fields(kind: Any) -> dict[str, list[Any]]:  # noqa: ANN401  the client has no types
    """The fields of a message."""
    found = {}
    for field in kind.fields:
        of = field.message_type or field.enum_type
        found[field.name] = [field.number, field.type, field.is_repeated, of.full_name if of else None]
    return found


def main() -> None:
    """Walk through both files."""
    left = [
        *service_pb2.DESCRIPTOR.message_types_by_name.values(),
        *model_config_pb2.DESCRIPTOR.message_types_by_name.values(),
    ]
    found = {}
    while left:
        kind = left.pop()
        found[kind.full_name.removeprefix("inference.")] = fields(kind)
        left += kind.nested_types
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
