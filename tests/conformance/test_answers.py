"""Section "tensor rules", the other half: what keeps the rules is answered as they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import MODEL, Gateway, label_of
from tests.conformance.test_tensors import FEATURES, PIXELS, RAW_FEATURES
from tests.conformance.wire import (
    Body,
    Said,
    ask_grpc,
    ask_rest,
    binary,
    document,
    element,
    given,
    json_image,
    message,
    raw_image,
    tensor,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A rule that a request keeps, and what must then be true of the answer."""

    rule: str
    holds: Callable[[Said], object]
    grpc: pb.ModelInferRequest | None = None
    rest: Body | None = None


def labels(*images: bytes) -> Callable[[Said], bool]:
    """The images are named as the fake engine names them."""
    return lambda said: said.output("label")["data"] == [label_of(image) for image in images]


def names(*outputs: str) -> Callable[[Said], bool]:
    """The outputs are these, in this order."""
    return lambda said: [output["name"] for output in said.body["outputs"]] == list(outputs)


ANSWERED = (
    *(
        Answered(
            rule=f"images of shape {shape} are accepted",
            holds=labels(b"a", b"b"),
            grpc=message(tensor("image", "BYTES", shape), raw=[element(b"a") + element(b"b")]),
            rest=document(given("image", "BYTES", shape, ["a", "b"])),
        )
        for shape in ([2], [2, 1])
    ),
    Answered(
        rule="typed numbers mean what raw ones mean: FP32",
        holds=labels(RAW_FEATURES),
        grpc=message(tensor("input", "FP32", [1, 3, 2, 2], fp32_contents=FEATURES)),
        rest=document(given("input", "FP32", [1, 3, 2, 2], FEATURES)),
    ),
    Answered(
        rule="raw numbers are little-endian and row-major",
        holds=labels(RAW_FEATURES),
        grpc=message(tensor("input", "FP32", [1, 3, 2, 2]), raw=[RAW_FEATURES]),
        rest=binary(given("input", "FP32", [1, 3, 2, 2], binary_data_size=48), tail=RAW_FEATURES),
    ),
    Answered(
        rule="UINT8 travels in uint_contents, or in JSON",
        holds=labels(bytes(PIXELS)),
        grpc=message(tensor("pixels", "UINT8", [1, 2, 2, 3], uint_contents=PIXELS)),
        rest=document(given("pixels", "UINT8", [1, 2, 2, 3], PIXELS)),
    ),
    Answered(
        rule="JSON data may be nested as the shape says",
        holds=labels(bytes(range(12))),
        rest=document(
            given("pixels", "UINT8", [1, 2, 2, 3], [[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]])
        ),
    ),
    Answered(
        rule="BYTES in JSON are UTF-8 text as it stands",
        holds=labels("ä".encode()),
        rest=json_image("ä"),
    ),
    Answered(
        rule="ours: encoding base64 for BYTES in JSON",
        holds=labels(b"\xff\xd8"),
        rest=document(given("image", "BYTES", [1], ["/9g="], encoding="base64")),
    ),
    Answered(
        rule="the id is echoed",
        holds=lambda said: said.body["id"] == "n° 7",
        grpc=raw_image(id="n° 7"),
        rest=json_image(id="n° 7"),
    ),
    Answered(
        rule="without a version the highest ready one answers, and says who it is",
        holds=lambda said: (said.body["model_name"], said.body["model_version"]) == (MODEL, "2"),
        grpc=raw_image(),
        rest=json_image(),
    ),
    Answered(
        rule="without outputs all default ones come",
        holds=names("probabilities", "label"),
        grpc=raw_image(),
        rest=json_image(),
    ),
    Answered(
        rule="the outputs named come, in that order, and no others",
        holds=names("status", "label", "logits"),
        grpc=raw_image(outputs=[{"name": "status"}, {"name": "label"}, {"name": "logits"}]),
        rest=json_image(outputs=[{"name": "status"}, {"name": "label"}, {"name": "logits"}]),
    ),
    Answered(
        rule="a raw request is answered raw",
        holds=lambda said: said.raw == {"probabilities", "label"},
        grpc=raw_image(),
    ),
    Answered(
        rule="a typed request is answered typed",
        holds=lambda said: said.raw == frozenset(),
        grpc=message(tensor("image", "BYTES", [1], bytes_contents=[b"png"])),
        rest=json_image(),
    ),
    Answered(
        rule="parameters that mean nothing here are no error, also of the reserved names",
        holds=labels(b"png"),
        grpc=raw_image(
            parameters={
                "triton_enable_empty_final_response": pb.InferParameter(bool_param=True),
                "sequence_id": pb.InferParameter(uint64_param=2**64 - 1),
                "mine": pb.InferParameter(double_param=0.5),
            }
        ),
        rest=json_image(parameters={"triton_x": True, "sequence_id": 2**64 - 1, "mine": 0.5, "headers": "x"}),
    ),
)  # fmt: skip


@pytest.mark.parametrize("row", [row for row in ANSWERED if row.grpc is not None], ids=lambda row: row.rule)
async def test_grpc_answers(shared: Gateway, row: Answered) -> None:
    """What keeps the rule is answered as it says."""
    assert row.grpc is not None
    said = await ask_grpc(shared, row.grpc)
    assert said.code == "OK", said.error
    assert row.holds(said), said.body


@pytest.mark.parametrize("row", [row for row in ANSWERED if row.rest is not None], ids=lambda row: row.rule)
async def test_rest_answers(shared: Gateway, row: Answered) -> None:
    """What keeps the rule is answered as it says."""
    assert row.rest is not None
    said = await ask_rest(shared, row.rest)
    assert said.code == 200, said.error
    assert row.holds(said), said.body
