"""Bad requests: the same code and the same words over both protocols, and no harm to the next request."""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from tests.e2e.demo import Demo
from tests.e2e.oip import WAYS, Input, Question, RefusedError, Way, ask, images, infer_path
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


BOMB = png_header(30_000, 30_000)


def zeros(name: str, datatype: str, *shape: int) -> Input:
    """A numeric tensor of zeros."""
    dtype = {"FP32": "<f4", "UINT8": "u1", "INT32": "<i4"}[datatype]
    return Input(name=name, datatype=datatype, shape=shape, data=np.zeros(shape, dtype))


Make = Callable[[bytes], Question]


@dataclass(frozen=True, slots=True)
class Case:
    """A bad request made from a good file; its code, and what its message must tell."""

    code: str
    make: Make
    tells: tuple[str, ...]


def invalid(make: Make, *tells: str) -> Case:
    """A case for INVALID_ARGUMENT / 400."""
    return Case("INVALID_ARGUMENT", make, tells)


def exhausted(make: Make, *tells: str) -> Case:
    """A case for RESOURCE_EXHAUSTED / 413."""
    return Case("RESOURCE_EXHAUSTED", make, tells)


def not_found(make: Make, *tells: str) -> Case:
    """A case for NOT_FOUND / 404."""
    return Case("NOT_FOUND", make, tells)


def of(*inputs: Input) -> Make:
    """A question with these inputs instead of the good file."""
    return lambda _: Question(model=MODEL, inputs=inputs)


def wanting(output: str, **parameters: int) -> Make:
    """A question about the good file that wants an output."""
    return lambda good: ask(MODEL, good, outputs={output: parameters})


def with_parameter(name: str, value: str) -> Make:
    """A question about the good file with a parameter of the request."""
    return lambda good: ask(MODEL, good, parameters={name: value})


def beside(*files: bytes) -> Make:
    """The good file, and then others."""
    return lambda good: ask(MODEL, good, *files)


ONE_OF = "exactly one of 'image', 'pixels', 'input'"
FORMATS = "must be one of JPEG, PNG, WebP, BMP, GIF"
CASES: Mapping[str, Case] = {
    "unknown model": not_found(lambda good: ask("digits_so", good), "model 'digits_so'", "not found"),
    "unknown version": not_found(
        lambda good: ask(MODEL, good, version="7"), "'digits_se'", "version '7'", "known: 1"
    ),
    "unknown input": invalid(of(zeros("imagine", "FP32", 1)), "inputs", "'imagine'", ONE_OF),
    "no input": invalid(of(), "inputs", "none", ONE_OF),
    "two inputs": invalid(
        of(zeros("input", "FP32", 1, 3, 16, 16), zeros("pixels", "UINT8", 1, 2, 2, 3)),
        "'input', 'pixels'",
        ONE_OF,
    ),
    "unknown output": invalid(wanting("labels"), "output 'labels'", "one of probabilities, logits"),
    "gates of a net without": invalid(
        lambda good: ask("digits_plain", good, outputs={"attention": {}}),
        "output 'attention'",
        "no channel gates",
    ),
    "wrong datatype": invalid(of(zeros("image", "FP32", 1)), "'image'", "FP32", "expected BYTES"),
    "wrong rank": invalid(of(zeros("pixels", "UINT8", 2, 3)), "'pixels'", "[2, 3]", "expected [N,H,W,3]"),
    "wrong channels": invalid(
        of(zeros("pixels", "UINT8", 1, 2, 2, 4)), "'pixels'", "[1, 2, 2, 4]", "expected [N,H,W,3]"
    ),
    "wrong size": invalid(
        of(zeros("input", "FP32", 1, 3, 8, 8)), "'input'", "[1, 3, 8, 8]", "expected [N,3,16,16]"
    ),
    "no image": invalid(of(images()), "'image'", "[0]", "no image"),
    "undecodable image": invalid(beside(b"no image at all"), "image [1]", "b'no image'", FORMATS),
    "truncated image": invalid(lambda good: ask(MODEL, good[:80]), "image [0]", "cannot decode this PNG"),
    "other format": invalid(beside(TIFF), "image [1]", "TIFF", FORMATS),
    "empty image": invalid(beside(b""), "image [1]", "no bytes", FORMATS),
    "too many declared pixels": exhausted(
        beside(BOMB), "image [1]", "30000 x 30000 pixels", "40000000 (max_image_pixels)"
    ),
    "too many images": exhausted(lambda good: ask(MODEL, *[good] * 129), "'image'", "129", "at most 128"),
    "partial is no boolean": invalid(with_parameter("partial", "yes"), "'partial'", "'yes'", "true or false"),
    "timeout is no number": invalid(with_parameter("timeout", "soon"), "'timeout'", "'soon'", "microseconds"),
    "classification of labels": invalid(
        wanting("label", classification=2), "'label'", "classification", "logits only"
    ),
    "classification below zero": invalid(wanting("logits", classification=-1), "'logits'", "-1", "above 0"),
}


# In JSON so many bytes are refused before the image is looked at.
TOO_MANY_BYTES = {
    way: ("bytes of JSON", "binary data")
    if way == "REST, JSON"
    else ("image [1]", "20000001 bytes", "20000000 (max_image_bytes)")
    for way in WAYS
}


@pytest.mark.parametrize("way", WAYS)
def test_too_many_bytes(stack: Stack, demo: Demo, way: str) -> None:
    """An image over the limit is RESOURCE_EXHAUSTED / 413, with what is too large and how much is allowed."""
    with pytest.raises(RefusedError) as refused:
        WAYS[way](stack, beside(bytes(20_000_001))(demo.images[0]))
    assert refused.value.status in ("RESOURCE_EXHAUSTED", STATUSES["RESOURCE_EXHAUSTED"])
    assert [part for part in TOO_MANY_BYTES[way] if part not in refused.value.message] == []


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_requests(stack: Stack, demo: Demo, way: Way, case: Case) -> None:
    """Code by the status table; parameter, value and rule in the message; and the next one is answered."""
    with pytest.raises(RefusedError) as refused:
        way(stack, case.make(demo.images[0]))
    assert refused.value.status in (case.code, STATUSES[case.code])
    assert [part for part in case.tells if part not in refused.value.message] == []
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


def test_json_has_no_nan(stack: Stack) -> None:
    """A failed row is null in JSON, which every parser reads."""
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["bad"]}
    document = {"inputs": [image], "parameters": {"partial": True}}
    response = stack.rest.post(infer_path(MODEL), json=document)
    assert f'"data":[{",".join(["null"] * 10)}]' in response.text
