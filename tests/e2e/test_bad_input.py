"""Bad requests: the same code and the same words over both protocols, and no harm to the next request."""

from __future__ import annotations

import binascii
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
import httpx
import numpy as np
import pytest

from serve.pb import open_inference_pb2 as pb
from tests.e2e.demo import Demo
from tests.e2e.oip import (
    WAYS,
    Input,
    Question,
    RefusedError,
    Way,
    ask,
    call_grpc,
    images,
    infer_path,
    read_rest,
    rest_json,
)
from tests.e2e.stacks import Stack

MODEL = "digits_se"
TIFF = b"II*\0" + bytes(60)
STATUSES = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 413, "UNIMPLEMENTED": 501}


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds nothing: a decompression bomb's first bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def zeros(name: str, datatype: str, *shape: int) -> Input:
    """A numeric tensor of zeros."""
    dtype = {"FP32": "<f4", "UINT8": "u1", "INT32": "<i4"}[datatype]
    return Input(name=name, datatype=datatype, shape=shape, data=np.zeros(shape, dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A bad request made from a good file; its code, and what its message must tell."""

    make: Callable[[bytes], Question]
    code: str
    tells: tuple[str, ...]


def invalid(make: Callable[[bytes], Question], *tells: str) -> Case:
    """A case for INVALID_ARGUMENT / 400."""
    return Case(make=make, code="INVALID_ARGUMENT", tells=tells)


def of_inputs(*inputs: Input) -> Callable[[bytes], Question]:
    """A question that does not use the good file."""
    return lambda _: Question(model=MODEL, inputs=inputs)


CASES: Mapping[str, Case] = {
    "unknown model": Case(
        make=lambda good: ask("digits_so", good), code="NOT_FOUND", tells=("model 'digits_so'", "not found")
    ),
    "unknown version": Case(
        make=lambda good: ask(MODEL, good, version="7"), code="NOT_FOUND", tells=("'digits_se'", "version '7'", "known: 1")
    ),
    "unknown input": invalid(
        of_inputs(zeros("imagine", "FP32", 1)), "inputs", "'imagine'", "exactly one of 'image', 'pixels', 'input'"
    ),
    "no input": invalid(of_inputs(), "inputs", "none", "exactly one of"),
    "two inputs": invalid(
        lambda good: Question(model=MODEL, inputs=(images(good), zeros("pixels", "UINT8", 1, 2, 2, 3))),
        "'image', 'pixels'", "exactly one of",
    ),
    "unknown output": invalid(
        lambda good: ask(MODEL, good, outputs={"labels": {}}), "output 'labels'", "one of probabilities, logits"
    ),
    "an output twice asked of a net without gates": invalid(
        lambda good: ask("digits_plain", good, outputs={"attention": {}}), "output 'attention'", "no channel gates"
    ),
    "wrong datatype": invalid(of_inputs(zeros("image", "FP32", 1)), "input 'image'", "FP32", "expected BYTES"),
    "wrong rank": invalid(of_inputs(zeros("pixels", "UINT8", 2, 3)), "input 'pixels'", "[2, 3]", "expected [N,H,W,3]"),
    "wrong channels": invalid(
        of_inputs(zeros("pixels", "UINT8", 1, 2, 2, 4)), "input 'pixels'", "[1, 2, 2, 4]", "expected [N,H,W,3]"
    ),
    "wrong size": invalid(of_inputs(zeros("input", "FP32", 1, 3, 8, 8)), "input 'input'", "[1, 3, 8, 8]", "[N,3,16,16]"),
    "no image": invalid(of_inputs(images()), "input 'image'", "[0]", "no image"),
    "undecodable image": invalid(
        lambda good: ask(MODEL, good, b"no image at all", good), "image [1]", "b'no image'", "must be one of JPEG, PNG"
    ),
    "truncated image": invalid(lambda good: ask(MODEL, good[:80]), "image [0]", "cannot decode this PNG"),
    "other format": invalid(lambda good: ask(MODEL, good, TIFF), "image [1]", "TIFF", "must be one of JPEG, PNG"),
    "empty image": invalid(lambda good: ask(MODEL, good, b""), "image [1]", "no bytes"),
    "too many bytes": Case(
        make=lambda good: ask(MODEL, good, bytes(20_000_001)),
        code="RESOURCE_EXHAUSTED",
        tells=("image [1]", "20000001 bytes", "20000000 (max_image_bytes)"),
    ),
    "too many declared pixels": Case(
        make=lambda good: ask(MODEL, good, png_header(30_000, 30_000)),
        code="RESOURCE_EXHAUSTED",
        tells=("image [1]", "30000 x 30000", "50000000 (max_image_pixels)"),
    ),
    "too many images": Case(
        make=lambda good: ask(MODEL, *[good] * 129), code="RESOURCE_EXHAUSTED", tells=("'image'", "129", "at most 128")
    ),
    "partial is no boolean": invalid(
        lambda good: ask(MODEL, good, parameters={"partial": "yes"}), "'partial'", "'yes'", "true or false"
    ),
    "timeout is no number": invalid(
        lambda good: ask(MODEL, good, parameters={"timeout": "soon"}), "'timeout'", "'soon'", "microseconds"
    ),
    "classification of labels": invalid(
        lambda good: ask(MODEL, good, outputs={"label": {"classification": 2}}), "'label'", "classification", "logits only"
    ),
    "classification below zero": invalid(
        lambda good: ask(MODEL, good, outputs={"logits": {"classification": -1}}), "'logits'", "-1", "above 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_requests(stack: Stack, demo: Demo, way: Way, case: Case) -> None:
    """The code is the status table's; the message names parameter, value and rule; the next one is answered."""
    with pytest.raises(RefusedError) as refused:
        way(stack, case.make(demo.images[0]))
    assert refused.value.status in (case.code, STATUSES[case.code])
    for part in case.tells:
        assert part in refused.value.message
    assert way(stack, ask(MODEL, demo.images[0])).labels == [demo.labels[0]]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_partial_answers(stack: Stack, demo: Demo, way: Way) -> None:
    """With `partial` the good images are answered; a bad one has its status, its reason, NaN and no label."""
    question = ask(
        MODEL,
        demo.images[0],
        b"bad",
        png_header(30_000, 30_000),
        demo.images[-1],
        parameters={"partial": True},
    )
    answer = way(stack, question)
    assert list(answer.outputs) == ["probabilities", "label", "status"]
    assert answer.outputs["status"].tolist() == [0, 3, 8, 0]
    assert answer.labels == [demo.labels[0], "", "", demo.labels[-1]]
    assert np.isnan(answer.outputs["probabilities"]).all(axis=1).tolist() == [False, True, True, False]
    errors = json.loads(answer.parameters["errors"])
    assert errors.keys() == {"1", "2"}
    assert "must be one of JPEG" in errors["1"]
    assert "max_image_pixels" in errors["2"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_deadline_that_passes(stack: Stack, demo: Demo, way: Way) -> None:
    """The parameter `timeout`, in microseconds, ends the wait."""
    with pytest.raises(RefusedError, match="deadline") as refused:
        way(stack, ask(MODEL, *demo.images, parameters={"timeout": 1}))
    assert refused.value.status in ("DEADLINE_EXCEEDED", 504)


@pytest.mark.parametrize(
    "way", [WAYS[name] for name in WAYS if name != "REST, JSON"]
)  # JSON has no such number
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_input_that_is_not_finite(stack: Stack, way: Way, value: float) -> None:
    """It fails with its index, rather than come back as probabilities of nothing."""
    data = np.zeros((2, 3, 16, 16), "<f4")
    data[1, 2, 3, 4] = value
    tensors = (Input(name="input", datatype="FP32", shape=data.shape, data=data),)
    with pytest.raises(RefusedError, match=r"image \[1\]: .*finite") as refused:
        way(stack, Question(model=MODEL, inputs=tensors))
    assert refused.value.status in ("INVALID_ARGUMENT", 400)


def test_json_has_no_nan(stack: Stack, demo: Demo) -> None:
    """A failed row is null in JSON, which every parser reads."""
    question = ask(MODEL, b"bad", demo.images[0], parameters={"partial": True})
    answer = rest_json(stack, question)
    assert math.isnan(answer.outputs["probabilities"][0, 0])
    headers = {"Inference-Header-Content-Length": "0", "Accept": "application/json"}
    good = stack.rest.post(infer_path(MODEL), content=demo.images[0], headers=headers)
    assert None not in good.json()["outputs"][0]["data"]
