"""Questions and answers, held against the gateway's own codecs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from loadtests.traffic import wire
from loadtests.traffic.grpc_wire import grpc_answer, grpc_request
from loadtests.traffic.questions import Answer, Question
from loadtests.traffic.sample import Sample
from loadtests.traffic.wire import AnswerError
from serve.core.errors import TooLargeError
from serve.core.messages import InferRequest, InferResponse, Parameter, Tensor
from serve.edge import oip_json, oip_proto
from serve.edge.rest_errors import error_response
from serve.edge.status import failure
from serve.pb import open_inference_pb2 as pb

Reply: TypeAlias = Callable[[InferResponse], Answer]

ROOT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the protocol: what the gateway reads, and how its answer comes back."""

    name: str
    ask: Callable[[Question], tuple[InferRequest, Reply]]


def ask_grpc(question: Question) -> tuple[InferRequest, Reply]:
    """Through protobuf, serialised in both directions."""
    data = grpc_request(question).SerializeToString()
    request, raw = oip_proto.decode_infer(oip_proto.parse(pb.ModelInferRequest, data))

    def reply(response: InferResponse) -> Answer:
        sent = oip_proto.encode_infer(response, raw=raw).SerializeToString()
        return grpc_answer(pb.ModelInferResponse.FromString(sent))

    return request, reply


def ask_rest(
    encode: Callable[[Question], tuple[bytes, dict[str, str]]],
) -> Callable[[Question], tuple[InferRequest, Reply]]:
    """Through the body of a POST, and that of its reply."""

    def ask(question: Question) -> tuple[InferRequest, Reply]:
        content, headers = encode(question)
        body = oip_json.InferBody(content=content, header_length=headers.get(wire.HEADER_LENGTH))
        request = oip_json.decode_infer(body, model=question.model, version="")

        def reply(response: InferResponse) -> Answer:
            sent = oip_json.encode_infer(response, request)
            binary = encode is wire.rest_binary
            assert (sent.header_length is not None) == binary
            return wire.rest_answer(sent.content, str(sent.header_length) if binary else None)

        return request, reply

    return ask


FORMS = (
    Form("gRPC", ask_grpc),
    Form("REST binary", ask_rest(wire.rest_binary)),
    Form("REST JSON", ask_rest(wire.rest_json)),
)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def asked(samples: int = 1, *, array: NDArray[Any] | None = None, deadline_ms: float = 0.0) -> Question:
    """A question about so many images of no bytes, or about an array."""
    return Question(
        request_id="q1",
        model="digits_se",
        samples=(Sample(name="", label="", encoded=b""),) * samples,
        array=array,
        deadline_ms=deadline_ms,
    )


@every_form
@given(images=st.lists(st.binary(max_size=50), min_size=1, max_size=5), unit=TEXTS, identity=TEXTS)
def test_images_arrive_whole(form: Form, images: list[bytes], unit: str, identity: str) -> None:
    """Any bytes, none among them; with the request's id, its unit, and the outputs that are asked for."""
    samples = tuple(Sample(name="", label="", encoded=image) for image in images)
    question = Question(request_id=identity, model="digits_se", samples=samples, unit=unit)
    request, _ = form.ask(question)
    assert [(one.name, one.datatype, one.shape, one.data) for one in request.inputs] == [
        ("image", "BYTES", (len(images),), tuple(images))
    ]
    assert (request.model, request.request_id) == ("digits_se", identity)
    assert [output.name for output in request.outputs] == ["probabilities", "label"]
    assert request.parameters.get("unit", "") == unit


ARRAYS = st.one_of(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.just(3))),
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
)


@every_form
@given(array=ARRAYS)
def test_tensors_arrive_to_the_bit(form: Form, array: NDArray[Any]) -> None:
    """uint8 [N,H,W,3] as `pixels`, finite float32 [N,3,H,W] as `input`, also when sent as decimals."""
    request, _ = form.ask(asked(len(array), array=array))
    (tensor,) = request.inputs
    names = {"uint8": ("pixels", "UINT8"), "float32": ("input", "FP32")}
    assert (tensor.name, tensor.datatype) == names[array.dtype.name]
    assert tensor.shape == array.shape
    assert tensor.data == array.tobytes()


@every_form
def test_a_deadline_arrives_in_microseconds(form: Form) -> None:
    """As the parameter `timeout`; without one, and without a unit, no parameter of ours is sent."""
    request, _ = form.ask(asked(deadline_ms=1.5))
    assert request.parameters["timeout"] == 1500
    request, _ = form.ask(asked())
    assert not {"timeout", "unit"} & request.parameters.keys()


@every_form
@given(
    probabilities=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(0, 1, width=32)
    ),
    data=st.data(),
)
def test_answers_are_read_to_the_bit(
    form: Form, probabilities: NDArray[np.float32], data: st.DataObject
) -> None:
    """Numbers, labels in any script, and what an experiment adds."""
    count = len(probabilities)
    labels = data.draw(st.lists(TEXTS, min_size=count, max_size=count))
    more: dict[str, Parameter] = {"experiment": "süß", "sticky": False, "experiment_version": 3}
    response = InferResponse(
        model="digits_eca",
        version="1",
        request_id="q1",
        outputs=(
            Tensor(
                name="probabilities",
                datatype="FP32",
                shape=probabilities.shape,
                data=probabilities.astype("<f4").tobytes(),
            ),
            Tensor(
                name="label", datatype="BYTES", shape=(count,), data=tuple(one.encode() for one in labels)
            ),
        ),
        parameters=more,
    )
    _, reply = form.ask(asked(count))
    answer = reply(response)
    assert (answer.request_id, answer.model, answer.labels) == ("q1", "digits_eca", tuple(labels))
    np.testing.assert_array_equal(answer.probabilities, probabilities)
    assert answer.parameters == {"experiment": "süß", "sticky": "false", "experiment_version": "3"}


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[]",
        b'"text"',
        b'{"model_name": "m", "outputs": []}',
        b'{"model_name": "m", "outputs": [3]}',
        b'{"model_name": "m", "outputs": [{"name": "probabilities", "shape": [2], "data": [1]}]}',
        b'{"model_name": "m", "outputs": [{"name": "label", "parameters": {"binary_data_size": 4}}]}',
    ],
)
@pytest.mark.parametrize("header_length", [None, "no number"])
def test_a_malformed_rest_reply_is_said_to_be_one(body: bytes, header_length: str | None) -> None:
    """It is a failed request, not a crashed user."""
    with pytest.raises(AnswerError):
        wire.rest_answer(body, header_length)


def test_a_malformed_grpc_reply_is_said_to_be_one() -> None:
    """Likewise: outputs missing, or shorter than their shape."""
    with pytest.raises(AnswerError):
        grpc_answer(pb.ModelInferResponse(model_name="m"))
    short = grpc_request(asked(2))
    response = pb.ModelInferResponse(
        model_name="m", raw_output_contents=[b"\0\0\0\0", short.raw_input_contents[0]]
    )
    response.outputs.add(name="probabilities", shape=[3, 2])
    response.outputs.add(name="label", shape=[3])
    with pytest.raises(AnswerError):
        grpc_answer(response)


def test_a_refusal_is_read_whatever_it_contains() -> None:
    """Over gRPC it comes as text, so REST's must read the same; another server's page is kept as it is."""
    error = TooLargeError('model "süß": 1 > 0')
    assert wire.rest_refusal(bytes(error_response(error).body)) == failure(error).message
    for page in ("<html>Bad Gateway</html>", "[]", json.dumps({"message": "no"})):
        assert wire.rest_refusal(page.encode()) == page


def test_what_both_locustfiles_share_imports_no_stubs() -> None:
    """Tritonclient's and ours describe the same messages, so that one process cannot hold both."""
    asked = ("questions", "corpus", "sample", "wire", "check", "subjects")
    shared = (*(f"traffic.{name}" for name in asked), "tally", "exchange")
    program = "; ".join(
        [
            *(f"import loadtests.{name}" for name in shared),
            "import sys, tritonclient.grpc",
            "print(sorted(name for name in sys.modules if name.startswith('serve.pb')))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"
