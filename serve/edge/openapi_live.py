"""What `/docs` says about the live view's answer. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_RATE: Mapping[str, Any] = {"type": "number", "minimum": 0}


def _known(description: str) -> Mapping[str, Any]:
    return {"type": "number", "minimum": 0, "nullable": True, "description": description}


def _object(**properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _by_name(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "additionalProperties": values}


_FAILED = {**_RATE, "description": "Requests that failed by no fault of their callers."}
_QUANTILES: Mapping[str, Mapping[str, Any]] = {
    f"p{share}_ms": _known("Of the last ten seconds; null: nothing was answered.") for share in (50, 95, 99)
}
_MODEL = _object(
    requests_s=_RATE,
    images_s={**_RATE, "description": "Images that were answered."},
    errors_s=_FAILED,
    **_QUANTILES,
    batch_images=_known("Images in a batch, the mean of the last ten seconds."),
    queue_images={**_COUNT, "description": "Images that wait in the gateway."},
    inflight={**_COUNT, "description": "Requests that wait for their answer."},
)
_ARM = _object(requests_s=_RATE, errors_s=_FAILED, **_QUANTILES)
_POINT = _object(
    n={**_COUNT, "description": "Grows with time, also over a restart; ask for what comes after it."},
    at={"type": "number", "description": "Unix time in seconds."},
    models=_by_name(_MODEL),
    arms={**_by_name(_by_name(_ARM)), "description": "By experiment and arm, mirrored calls included."},
)
_ENGINE = _object(
    name={"type": "string"},
    ejected={"type": "boolean", "description": "It takes no batches."},
    restarts={**_COUNT, "description": "Unexpected ends."},
    retries={**_COUNT, "description": "Batches that were sent again after it failed them."},
    models=_by_name({"type": "string", "enum": ["closed", "open", "half_open"]}),
)
_ANSWER = _object(
    now={"type": "number", "description": "Unix time in seconds."},
    every_s={"type": "number", "description": "Time from a point to the next."},
    process={
        **_object(index={"type": "integer", "minimum": 1}, of={"type": "integer", "minimum": 1}),
        "description": "Which of the processes behind this port answered; the figures are its own.",
    },
    points={"type": "array", "items": _POINT},
    engines={"type": "array", "items": _ENGINE},
)

LIVE: Mapping[str, Any] = {
    "responses": {
        "200": {
            "description": "Points, oldest first, and engines",
            "content": {"application/json": {"schema": _ANSWER}},
        }
    }
}
