"""From the rows that an engine returned to the protocol's response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np

from serve.core.card import ModelCard
from serve.core.errors import (
    DeadlineError,
    InternalError,
    InvalidRequestError,
    ServeError,
    TooLargeError,
    UnavailableError,
)
from serve.core.messages import InferResponse, Parameter, Prediction, RequestedOutput, Tensor
from serve.core.query import Query

MAX_NAMED_FAILURES = 5
# Codes of an image (gRPC's numbers): the handler's own, and those of images that were run one by one.
_FAULTS: Mapping[int, type[ServeError]] = {
    3: InvalidRequestError,
    4: DeadlineError,
    8: TooLargeError,
    14: UnavailableError,
}


def fault(status: int) -> type[ServeError]:
    """The error that an image's status other than 0 stands for."""
    return _FAULTS.get(status, InternalError)


def compose(query: Query, prediction: Prediction, card: ModelCard) -> InferResponse:
    """Build the response.

    The parameter `errors` holds the text of each failed image, as JSON by index; `untrained` is
    set when the model's weights are random.

    Raises:
        ServeError: An image failed and the query did not ask for partial answers; the message
            names each failed image by its index.
    """
    failed = [index for index, status in enumerate(prediction.status) if status]
    if failed and not query.partial:
        raise _failure(failed, prediction)
    parameters: dict[str, Parameter] = {} if card.trained else {"untrained": True}
    if failed:
        errors = {index: _text(prediction, index) for index in failed}
        parameters["errors"] = json.dumps(errors, ensure_ascii=False)
    return InferResponse(
        model=card.ref.name,
        version=card.ref.version,
        request_id=query.request_id,
        outputs=tuple(_tensor(output, prediction, card) for output in query.outputs),
        parameters=parameters,
    )


def _failure(failed: list[int], prediction: Prediction) -> ServeError:
    texts = [f"image [{index}]: {_text(prediction, index)}" for index in failed[:MAX_NAMED_FAILURES]]
    if len(failed) > MAX_NAMED_FAILURES:
        texts.append(f"and {len(failed) - MAX_NAMED_FAILURES} more")
    kinds = {fault(prediction.status[index]) for index in failed}
    # Of several kinds: the request as it is will fail again, whatever we do about the rest.
    kind = kinds.pop() if len(kinds) == 1 else InvalidRequestError
    return kind("; ".join(texts))


def _text(prediction: Prediction, index: int) -> str:
    return prediction.messages.get(index, f"failed with code {prediction.status[index]}")


def _tensor(output: RequestedOutput, prediction: Prediction, card: ModelCard) -> Tensor:
    top = output.parameters.get("classification", 0)
    if isinstance(top, int) and top > 0:
        return _classification(output.name, prediction, card, min(top, card.classes))
    return _BUILDERS[output.name](output.name, prediction, card)


def _rows(name: str, prediction: Prediction, _card: ModelCard) -> Tensor:
    rows = prediction.outputs[name]
    return Tensor(name=name, datatype="FP32", shape=rows.shape, data=rows.astype("<f4", copy=False).tobytes())


def _label(name: str, prediction: Prediction, card: ModelCard) -> Tensor:
    best = prediction.outputs["probabilities"].argmax(axis=1)
    data = tuple(
        b"" if status else card.labels[index].encode()
        for status, index in zip(prediction.status, best, strict=True)
    )
    return Tensor(name=name, datatype="BYTES", shape=(len(data),), data=data)


def _status(name: str, prediction: Prediction, _card: ModelCard) -> Tensor:
    data = np.asarray(prediction.status, dtype="<i4").tobytes()
    return Tensor(name=name, datatype="INT32", shape=(len(prediction.status),), data=data)


_BUILDERS: Mapping[str, Callable[[str, Prediction, ModelCard], Tensor]] = {
    "probabilities": _rows,
    "logits": _rows,
    "attention": _rows,
    "label": _label,
    "status": _status,
}


def _classification(name: str, prediction: Prediction, card: ModelCard, top: int) -> Tensor:
    """The classification extension: `value:index:label`, highest first; "" for a failed image."""
    rows = prediction.outputs[name]
    data: list[bytes] = []
    # Stable, so that equal values keep the order of the classes.
    orders = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    for row, status, order in zip(rows, prediction.status, orders, strict=True):
        data += [b"" if status else f"{row[i]:f}:{i}:{card.labels[i]}".encode() for i in order]
    return Tensor(name=name, datatype="BYTES", shape=(len(rows), top), data=tuple(data))
