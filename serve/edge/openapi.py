"""What `/docs` says about bodies: the infer route reads its own, so FastAPI cannot know. Data only."""

from __future__ import annotations

from typing import Any

_PARAMETERS = {"type": "object", "additionalProperties": True}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string", "enum": ["image", "pixels", "input"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": _PARAMETERS,
        "data": {"type": "array", "items": {}},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": "array", "items": _OUTPUT},
    },
    "example": {
        "inputs": [
            {
                "name": "image",
                "shape": [1],
                "datatype": "BYTES",
                "parameters": {"encoding": "base64"},
                "data": ["iVBORw0KGgo..."],
            }
        ],
        "outputs": [{"name": "label"}, {"name": "probabilities", "parameters": {"classification": 3}}],
    },
}

INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "Size of the JSON when raw tensors follow it; 0: the body is one image file.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}


def json_body(**properties: dict[str, Any]) -> dict[str, Any]:
    """Describe a JSON body that may be left out."""
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


INDEX = json_body(ready={"type": "boolean", "description": "Only models that are ready."})
_REASON = {"type": "string", "maxLength": 500, "description": "Why; the audit keeps it."}
REPOSITORY = json_body(parameters={"type": "object", "properties": {"reason": _REASON}})

ERROR: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            }
        },
    }
}
