"""JSON Schema as pydantic writes it, in the words of OpenAPI 3.0, which the bundled page reads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


def schema_of(model: type[BaseModel]) -> Schema:
    """The schema of a model that does not hold itself; it stands alone, without definitions elsewhere."""
    schema = model.model_json_schema()
    return _plain(schema, schema.pop("$defs", {}))


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    found: Schema = {}
    for key, value in schema.items():
        found |= _WORDS.get(key, _same)(key, value, definitions)
    return found


def _same(key: str, value: object, _definitions: Mapping[str, Schema]) -> Schema:
    return {key: value}


def _referred(_key: str, value: str, definitions: Mapping[str, Schema]) -> Schema:
    return _plain(definitions[value.rpartition("/")[2]], definitions)


def _properties(key: str, value: Mapping[str, Schema], definitions: Mapping[str, Schema]) -> Schema:
    return {key: {name: _plain(schema, definitions) for name, schema in value.items()}}


def _one(key: str, value: object, definitions: Mapping[str, Schema]) -> Schema:
    return {key: _plain(value, definitions) if isinstance(value, dict) else value}


def _any(key: str, value: list[Schema], definitions: Mapping[str, Schema]) -> Schema:
    others = [_plain(schema, definitions) for schema in value if schema != {"type": "null"}]
    chosen: Schema = others[0] if len(others) == 1 else {key: others}
    return chosen if len(others) == len(value) else {**chosen, "nullable": True}


def _first(_key: str, value: list[Schema], definitions: Mapping[str, Schema]) -> Schema:
    return {"items": _plain(value[0], definitions)}  # all places of our tuples hold the same


def _constant(_key: str, value: object, _definitions: Mapping[str, Schema]) -> Schema:
    return {"enum": [value]}


def _above(_key: str, value: float, _definitions: Mapping[str, Schema]) -> Schema:
    return {"minimum": value, "exclusiveMinimum": True}


def _below(_key: str, value: float, _definitions: Mapping[str, Schema]) -> Schema:
    return {"maximum": value, "exclusiveMaximum": True}


def _nothing(_key: str, _value: object, _definitions: Mapping[str, Schema]) -> Schema:
    return {}


_WORDS: Mapping[str, Callable[[str, Any, Mapping[str, Schema]], Schema]] = {
    "$ref": _referred,
    "properties": _properties,
    "items": _one,
    "additionalProperties": _one,
    "anyOf": _any,
    "prefixItems": _first,
    "const": _constant,
    "exclusiveMinimum": _above,
    "exclusiveMaximum": _below,
    "title": _nothing,  # pydantic's are the names once more
}
