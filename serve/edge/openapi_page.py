"""What `/docs` says about what the page asks: the caller, the models' cards, samples. Data only."""

from __future__ import annotations

from typing import Any

from serve.core.catalog import ModelState
from serve.edge.samples import MOST_SAMPLES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {**_TEXT, "nullable": True}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_COUNT: Schema = {**_COUNT, "nullable": True}
_YES_OR_NO: Schema = {"type": "boolean"}
_MAYBE: Schema = {**_YES_OR_NO, "nullable": True}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_MILLISECONDS: Schema = {"type": "number", "nullable": True, "description": "Mean of an answered request."}
_FREE: Schema = {"type": "object", "nullable": True, "additionalProperties": True}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _answer(schema: Schema, description: str) -> Schema:
    content = {"application/json": {"schema": schema}}
    return {"responses": {"200": {"description": description, "content": content}}}


_CARD = {
    "type": "object",
    "nullable": True,
    "additionalProperties": True,
    "description": "What the archive says of its net; free but for these.",
    "properties": {
        "accuracy": {**_SHARE, "nullable": True},
        "accuracy_interval_95": _list(_SHARE, nullable=True, minItems=2, maxItems=2),
        "parameters": _MAYBE_COUNT,
        "macs": {**_MAYBE_COUNT, "description": "Multiply-adds of an image."},
        "source": {**_MAYBE_TEXT, "description": "Where the weights come from."},
    },
}
_USAGE = _object(
    requests={**_COUNT, "description": "Answered by this process."},
    failed={**_COUNT, "description": "Requests that ended in an error."},
    images=_COUNT,
    mean_ms=_MILLISECONDS,
    queue_ms=_MILLISECONDS,
    decode_ms=_MILLISECONDS,
    infer_ms=_MILLISECONDS,
    since={**_TEXT, "format": "date-time"},
)
_MODEL: Schema = _object(
    name=_TEXT,
    version={**_TEXT, "description": "Empty where a model should be there and no version is."},
    state={**_TEXT, "enum": [state.value for state in ModelState]},
    reason=_TEXT,
    default={**_YES_OR_NO, "description": "Whether it answers where no version is named."},
    aliases=_list(_TEXT),
    architecture=_MAYBE_TEXT,
    family=_MAYBE_TEXT,
    attention=_MAYBE_TEXT,
    trained=_MAYBE,
    classes=_MAYBE_COUNT,
    input_size=_list(_COUNT, nullable=True, minItems=2, maxItems=2, description="Height, width, in pixels."),
    max_batch=_MAYBE_COUNT,
    recipe=_MAYBE_TEXT,
    recipe_reasons=_list(_TEXT, nullable=True),
    decoder=_MAYBE_TEXT,
    contents_sha256=_MAYBE_TEXT,
    parity={**_FREE, "description": "The proof that the archive computes what the net computes."},
    card=_CARD,
    offers_attention=_MAYBE,
    usage=_USAGE,
)
_GATES = _object(block=_TEXT, channels=_COUNT, branches=_COUNT)
_WHOLE_MODEL: Schema = _object(
    **_MODEL["properties"],
    labels=_list(_TEXT, nullable=True),
    attention_layout=_list(_GATES, nullable=True),
    confusion=_list(_list(_COUNT), nullable=True, description="Images by true class, then by named class."),
    input=_FREE,
    input_names=_list(_TEXT, nullable=True),
)
_SAMPLE = _object(name=_TEXT, label=_MAYBE_TEXT, bytes=_COUNT)
_IMAGES = ("image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp")

ME: Schema = _answer(
    _object(
        name=_TEXT,
        role={**_TEXT, "enum": ["infer", "operate", "admin"]},
        access={**_TEXT, "enum": ["open", "token", "certificate"]},
        version={**_TEXT, "description": "Of this server."},
        experiments=_YES_OR_NO,
        samples=_YES_OR_NO,
        grafana_url=_TEXT,
        processes=_COUNT,
    ),
    "The caller, and what this gateway has to show",
)
MODELS: Schema = _answer(_object(models=_list(_MODEL)), "All versions")
MODEL: Schema = _answer(_WHOLE_MODEL, "One version")
SAMPLES: Schema = _answer(_object(samples=_list(_SAMPLE, maxItems=MOST_SAMPLES)), "The samples")
SAMPLE: Schema = {
    "responses": {
        "200": {
            "description": "The image",
            "content": {kind: {"schema": {**_TEXT, "format": "binary"}} for kind in _IMAGES},
        }
    }
}
