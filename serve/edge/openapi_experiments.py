"""What `/docs` says about the routes of experiments: bodies, answers, examples. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve.core.experiment import Design, State
from serve.core.record import Receipt
from serve.core.verdict import Verdict
from serve.edge.openapi_schema import Schema, schema_of

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "string", "format": "date-time"}
_REASON: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 500,
    "description": "Kept with the version.",
}
_OBJECT: Schema = {"type": "object", "additionalProperties": True}

_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "Refuse (412) unless this is the newest version, as ETag gave it.",
    "schema": {"type": "string", "example": '"3"'},
}

EXAMPLE: Schema = {
    "name": "digits-se-vs-eca",
    "mode": "paired",
    "arms": [
        {"name": "se", "model": "digits_se", "version": "1", "weight": 5000},
        {"name": "eca", "model": "digits_eca", "version": "1", "weight": 5000},
    ],
    "primary_metric": "accuracy",
    "margin": 0.01,
    "guardrails": [{"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}],
    "reason": "ECA has fewer parameters; is it as good?",
}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _json(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


def _body(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, **_json(schema)}}


def _answer(schema: Schema, status: str = "200", description: str = "Done") -> Schema:
    return {"responses": {status: {"description": description, **_json(schema)}}}


def _file(media_type: str) -> Schema:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {"responses": {"200": {"description": "The file", "content": content}}}


_DESIGN = schema_of(Design)
_DESIGN_BODY: Schema = {**_DESIGN, "properties": {**_DESIGN["properties"], "reason": _REASON}}
_CHANGES: Schema = {
    "type": "object",
    "description": "Only what is to change; for new weights, arms with name and weight are enough.",
    "additionalProperties": False,
    "required": ["reason"],
    "properties": _DESIGN_BODY["properties"],
    "example": {"ramp": 5000, "reason": "nothing unusual at 10 %"},
}
_VERSION: Schema = {
    "type": "object",
    "properties": {
        **_DESIGN["properties"],
        "state": {"type": "string", "enum": [state.value for state in State]},
        "version": _NUMBER,
        "phase": {**_NUMBER, "description": "Grows when the weights change; each is analysed apart."},
        "winner": {**_TEXT, "nullable": True, "description": "The promoted arm."},
        "labels": {**_list(_TEXT), "description": "The classes that labels name; empty before the start."},
        "effective_at": _TIME,
        "created_at": _TIME,
        "act": _TEXT,
        "author": _TEXT,
        "reason": _TEXT,
        "digest": {**_TEXT, "description": "SHA-256 of this version and of the digest before it."},
    },
}
_LISTED: Schema = {
    **_VERSION,
    "properties": {
        **_VERSION["properties"],
        "verdict": {
            "type": "string",
            "enum": [verdict.value for verdict in Verdict],
            "nullable": True,
            "description": "With `verdicts`; null of a draft, and where it is not known yet.",
        },
        "sentence": {**_TEXT, "nullable": True, "description": "With `verdicts`: the same in words."},
        "verdict_known": {
            "type": "boolean",
            "description": "With `verdicts`; false: it is still being found, ask again.",
        },
    },
}
_RECEIPT = _object(
    ("status",), status={"type": "string", "enum": [receipt.value for receipt in Receipt]}, message=_TEXT
)
_ALIAS = _object(
    name=_TEXT,
    target={**_TEXT, "description": 'A model, "model:version", or an experiment.'},
    version=_NUMBER,
    effective_at=_TIME,
    author=_TEXT,
    reason=_TEXT,
)
_ITEM: Schema = {**_NUMBER, "default": 0, "description": "Which image of the request, from 0."}
_OUTCOME = _object(("feedback_token", "label"), feedback_token=_TEXT, label=_TEXT, item=_ITEM)
_LABEL = _object(("prediction", "label"), prediction=_TEXT, item=_ITEM, label=_TEXT)
_SAID = _object(label=_TEXT, confidence={"type": "number"}, latency_us=_NUMBER)
_DISAGREEMENT = _object(
    prediction=_TEXT,
    item=_NUMBER,
    unit={**_TEXT, "description": "Keyed hash."},
    phase=_NUMBER,
    at=_TIME,
    label={**_TEXT, "nullable": True},
    image_kept={"type": "boolean", "description": "Whether its bytes can be fetched."},
    answers={"type": "object", "additionalProperties": _SAID},
)
_CHECK = _object(
    question=_TEXT, salt=_TEXT, bucket=_NUMBER, start=_NUMBER, stop=_NUMBER, passed={"type": "boolean"}
)

EXPERIMENT: Schema = _answer(_VERSION)
CREATE: Schema = _body({**_DESIGN_BODY, "example": EXAMPLE}) | _answer(_VERSION, "201", "The draft")
PLAN: Schema = _body({**_DESIGN_BODY, "example": EXAMPLE}) | _answer(_OBJECT)
LIST: Schema = _answer(_object(experiments=_list(_LISTED)))
PATCH: Schema = _body(_CHANGES) | _answer(_VERSION) | {"parameters": [_IF_MATCH]}
AUDIT: Schema = _answer(_object(name=_TEXT, versions=_list(_VERSION)))
REPORT: Schema = {
    "responses": {
        "200": {
            "description": "The report",
            "content": {"application/json": {"schema": _OBJECT}, "text/html": {"schema": _TEXT}},
        }
    }
}
ASSIGN: Schema = _answer(
    _object(
        experiment=_TEXT,
        version=_NUMBER,
        unit=_TEXT,
        arm=_TEXT,
        model=_TEXT,
        model_version=_TEXT,
        assignment={"type": "string", "enum": ["hash", "override", "holdout", "single"]},
        sentence=_TEXT,
        checks=_list(_CHECK),
    )
)
OUTCOMES: Schema = _body(
    {
        **_object(("outcomes",), outcomes={**_list(_OUTCOME), "maxItems": 10_000}),
        "example": {"outcomes": [{"feedback_token": "AQAAAA...", "label": "7"}]},
    }
) | _answer(_object(outcomes=_list(_RECEIPT)))
LABELS: Schema = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    **_object(("labels",), labels={**_list(_LABEL), "maxItems": 10_000}),
                    "example": {"labels": [{"prediction": "0" * 32, "item": 0, "label": "7"}]},
                }
            },
            "text/csv": {"schema": {"type": "string", "example": "prediction,item,label\r\n"}},
        },
    }
} | _answer(
    _object(
        labels=_list(
            _object(prediction=_TEXT, item=_NUMBER, status=_RECEIPT["properties"]["status"], message=_TEXT)
        )
    )
)
CSV: Schema = _file("text/csv")
PARQUET: Schema = _file("application/vnd.apache.parquet")
IMAGE: Schema = _file("application/octet-stream")
DISAGREEMENTS: Schema = _answer(_object(disagreements=_list(_DISAGREEMENT)))
ALIASES: Schema = _answer(_object(aliases=_list(_ALIAS)))
PUT_ALIAS: Schema = (
    _body(
        {
            **_object(("target", "reason"), target=_TEXT, reason=_REASON),
            "example": {"target": "digits-se-vs-eca", "reason": "the experiment begins"},
        }
    )
    | _answer(_ALIAS)
    | {"parameters": [_IF_MATCH]}
)

_MORE: Mapping[str, dict[str, Schema]] = {
    "ramp": {"ramp": {**_NUMBER, "maximum": 10_000, "description": "Enrolled share, in 1/10 000."}},
    "promote": {"arm": {**_TEXT, "description": "The arm that wins."}},
}


def transition(act: str) -> dict[str, Any]:
    """The body and the answer of an act; none of them needs more than its reason."""
    more = _MORE.get(act, {})
    required = ("reason", *(name for name in more if name == "ramp"))
    body = _body(_object(required, reason=_REASON, **more))
    return body | _answer(_VERSION) | {"parameters": [_IF_MATCH]}
