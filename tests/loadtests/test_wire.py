"""Questions and answers, held against the gateway's own codecs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadtests import wire
from loadtests.corpus import Sample
from loadtests.wire import Answer, AnswerError, Question
from serve.core.messages import InferRequest, InferResponse, Tensor
from serve.edge import oip_json, oip_proto
from serve.pb import open_inference_pb2 as pb

IMAGES = (b"\x89PNG...", b"", b"\xff\xd8\xff...")
QUESTION = Question(
    request_id="q1",
    model="digits_se",
    samples=tuple(Sample(name="", label="3", encoded=image) for image in IMAGES),
)
PROBABILITIES = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], "<f4")
LABELS = ("seven", "three", "süß")
RESPONSE = InferResponse(
    model="digits_se",
    version="1",
    request_id="q1",
    outputs=(
        Tensor(name="probabilities", datatype="FP32", shape=(3, 2), data=PROBABILITIES.tobytes()),
        Tensor(name="label", datatype="BYTES", shape=(3,), data=tuple(label.encode() for label in LABELS)),
    ),
)


def decoded_rest(encode: Callable[[Question], tuple[bytes, dict[str, str]]]) -> InferRequest:
    """What the gateway reads from a POST."""
    content, headers = encode(QUESTION)
    body = oip_json.InferBody(content=content, header_length=headers.get(wire.HEADER_LENGTH))
    return oip_json.decode_infer(body, model="digits_se", version="")


def assert_same(answer: Answer) -> None:
    """Assert that it says what RESPONSE says."""
    assert (answer.request_id, answer.model, answer.labels) == ("q1", "digits_se", LABELS)
    np.testing.assert_array_equal(answer.probabilities, PROBABILITIES)


def assert_asked(request: InferRequest) -> None:
    """Assert that the gateway sees QUESTION."""
    assert (request.model, request.request_id) == ("digits_se", "q1")
    assert [(tensor.name, tensor.shape, tensor.data) for tensor in request.inputs] == [
        ("image", (3,), IMAGES)
    ]
    assert [output.name for output in request.outputs] == ["probabilities", "label"]


@pytest.mark.parametrize("encode", [wire.rest_binary, wire.rest_json])
def test_the_gateway_reads_and_answers_rest(
    encode: Callable[[Question], tuple[bytes, dict[str, str]]],
) -> None:
    """Both forms of the question arrive whole, and both forms of the answer are read."""
    request = decoded_rest(encode)
    assert_asked(request)
    reply = oip_json.encode_infer(RESPONSE, request)
    assert (reply.header_length is None) == (encode is wire.rest_json)
    length = None if reply.header_length is None else str(reply.header_length)
    assert_same(wire.rest_answer(reply.content, length))


def test_the_gateway_reads_and_answers_grpc() -> None:
    """The question arrives whole, and the answer is read."""
    request, raw = oip_proto.decode_infer(wire.grpc_request(QUESTION))
    assert_asked(request)
    assert_same(wire.grpc_answer(oip_proto.encode_infer(RESPONSE, raw=raw)))


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[]",
        b'{"model_name": "m", "outputs": []}',
        b'{"model_name": "m", "outputs": [{"name": "probabilities", "shape": [2], "data": [1]}]}',
    ],
)
def test_a_malformed_rest_reply_is_said_to_be_one(body: bytes) -> None:
    """It is a failed request, not a crashed user."""
    with pytest.raises(AnswerError):
        wire.rest_answer(body, None)


def test_a_malformed_grpc_reply_is_said_to_be_one() -> None:
    """Likewise: outputs missing, or shorter than their shape."""
    with pytest.raises(AnswerError):
        wire.grpc_answer(pb.ModelInferResponse(model_name="m"))
    short = wire.grpc_request(QUESTION)
    response = pb.ModelInferResponse(
        model_name="m", raw_output_contents=[b"\0\0\0\0", short.raw_input_contents[0]]
    )
    response.outputs.add(name="probabilities", shape=[3, 2])
    response.outputs.add(name="label", shape=[3])
    with pytest.raises(AnswerError):
        wire.grpc_answer(response)
