"""From an engine's rows to the response."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.core.answer import compose, fault
from serve.core.card import ModelCard
from serve.core.errors import (
    DeadlineError,
    InternalError,
    InvalidRequestError,
    ServeError,
    TooLargeError,
    UnavailableError,
)
from serve.core.messages import Items, Kind, ModelRef, Parameter, Prediction, RequestedOutput, Tensor, Timings
from serve.core.query import Query

CARD = ModelCard(
    ref=ModelRef(name="digits_se", version="3"),
    labels=("null", "eins", "zw\u00f6lf"),
    input_size=(8, 8),
    attention="none",
    attention_layout=(),
    trained=True,
    max_batch=8,
    contents_sha256="",
    signature={},
)
ROWS = np.array([[0.1, 0.7, 0.2], [0.25, 0.25, 0.5]], np.float32)
SPENT = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)


def query(*names: str, partial: bool = False, **parameters: Parameter) -> Query:
    """A query for some outputs, with the same parameters each."""
    outputs = tuple(RequestedOutput(name=name, parameters=parameters) for name in names)
    items = Items(kind=Kind.IMAGE, blobs=(b"x", b"y"))
    return Query(
        ref=CARD.ref, request_id="r7", items=items, outputs=outputs, wants=frozenset(), partial=partial
    )


def prediction(
    *status: int, messages: Mapping[int, str] | None = None, rows: NDArray[np.float32] = ROWS
) -> Prediction:
    """Rows whose failed ones are NaN; the logits are ten times the probabilities."""
    rows = rows.copy()
    rows[[bool(code) for code in status]] = np.nan
    texts = {index: f"bad {index}" for index, code in enumerate(status) if code}
    return Prediction(
        status=status,
        messages=texts if messages is None else messages,
        outputs={"probabilities": rows, "logits": rows * 10},
        queue_s=0.0,
        timings=SPENT,
    )


def test_every_output_has_its_type_and_shape() -> None:
    """In the order asked for, with the model's name and version and the request's id."""
    response = compose(query("label", "status", "logits", "probabilities"), prediction(0, 0), CARD)
    assert (response.model, response.version, response.request_id) == ("digits_se", "3", "r7")
    assert response.parameters == {}
    assert response.outputs == (
        Tensor(name="label", datatype="BYTES", shape=(2,), data=(b"eins", "zw\u00f6lf".encode())),
        Tensor(name="status", datatype="INT32", shape=(2,), data=struct.pack("<2i", 0, 0)),
        Tensor(name="logits", datatype="FP32", shape=(2, 3), data=(ROWS * 10).astype("<f4").tobytes()),
        Tensor(name="probabilities", datatype="FP32", shape=(2, 3), data=ROWS.astype("<f4").tobytes()),
    )


def test_classification_lists_value_index_and_label() -> None:
    """Highest first, equal ones in the order of the classes."""
    (tensor,) = compose(query("probabilities", classification=2), prediction(0, 0), CARD).outputs
    assert tensor == Tensor(
        name="probabilities",
        datatype="BYTES",
        shape=(2, 2),
        data=(
            b"0.700000:1:eins",
            "0.200000:2:zw\u00f6lf".encode(),
            "0.500000:2:zw\u00f6lf".encode(),
            b"0.250000:0:null",
        ),
    )


def test_classification_is_held_to_the_classes() -> None:
    """Asking for more than there are gives all."""
    (tensor,) = compose(query("logits", classification=99), prediction(0, 0), CARD).outputs
    assert tensor.shape == (2, 3)


def test_a_failed_image_is_empty_in_a_partial_answer() -> None:
    """NaN among numbers, empty among texts, its code in `status`, its text in `errors`."""
    response = compose(query("label", "status", "probabilities", partial=True), prediction(0, 3), CARD)
    label, status, probabilities = (tensor.data for tensor in response.outputs)
    assert label == (b"eins", b"")
    assert status == struct.pack("<2i", 0, 3)
    assert isinstance(probabilities, bytes)
    assert np.isnan(np.frombuffer(probabilities, "<f4").reshape(2, 3)).tolist() == [[False] * 3, [True] * 3]
    assert response.parameters == {"errors": json.dumps({"1": "bad 1"})}
    (classes,) = compose(query("logits", partial=True, classification=1), prediction(3, 0), CARD).outputs
    assert classes.data == (b"", "5.000000:2:zw\u00f6lf".encode())


def test_untrained_weights_are_said() -> None:
    """Beside whatever else is said."""
    untrained = replace(CARD, trained=False)
    assert compose(query("label"), prediction(0, 0), untrained).parameters == {"untrained": True}
    partial = compose(query("label", partial=True), prediction(3, 0), untrained)
    assert partial.parameters == {"untrained": True, "errors": '{"0": "bad 0"}'}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ((3, 0), InvalidRequestError),
        ((8, 0), TooLargeError),
        ((13, 0), InternalError),
        ((8, 3), InvalidRequestError),
        ((2, 2), InternalError),
    ],
)
def test_without_partial_a_failed_image_fails_the_request(
    status: tuple[int, int], kind: type[ServeError]
) -> None:
    """The class of the error is that of the image's fault; the message names each failed image."""
    with pytest.raises(ServeError) as raised:
        compose(query("label"), prediction(*status), CARD)
    assert type(raised.value) is kind
    named = [f"image [{index}]: bad {index}" for index, code in enumerate(status) if code]
    assert raised.value.message == "; ".join(named)


def test_many_failures_are_not_all_named() -> None:
    """Five, and how many more."""
    rows = np.zeros((9, 3), np.float32)
    with pytest.raises(InvalidRequestError, match=r"^image \[2\].*image \[6\]: bad 6; and 2 more$"):
        compose(query("label"), prediction(0, 0, *[3] * 7, rows=rows), CARD)


def test_a_failure_without_a_text_is_named_by_its_code() -> None:
    """An engine that gives no reason does not turn the answer into a bug."""
    silent = prediction(0, 3, messages={})
    with pytest.raises(InvalidRequestError, match=r"image \[1\]: failed with code 3"):
        compose(query("label"), silent, CARD)
    response = compose(query("label", partial=True), silent, CARD)
    assert response.parameters == {"errors": '{"1": "failed with code 3"}'}


def test_whose_fault_a_status_is() -> None:
    """Two codes are the caller's fault, two say that there was no time or no engine; all others are ours."""
    faults = {code: fault(code) for code in range(1, 17)}
    assert {code: kind for code, kind in faults.items() if kind is not InternalError} == {
        3: InvalidRequestError,
        4: DeadlineError,
        8: TooLargeError,
        14: UnavailableError,
    }
