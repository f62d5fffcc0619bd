"""Section "tensor rules": each holds at both doors, with the same meaning."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import pytest

from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import MODEL, Gateway
from tests.conformance.wire import (
    Body,
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
)  # fmt: skip

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = given("image", "BYTES", [1], ["png"])
FEATURES = [0.5] * 12
PIXELS = [7] * 12
RAW_FEATURES = struct.pack("<12f", *FEATURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A rule that a request breaks: INVALID_ARGUMENT and 400, with a text that says what is wrong."""

    rule: str
    text: str
    grpc: pb.ModelInferRequest | None = None
    rest: Body | None = None


REFUSED = (
    Refused(
        rule="a datatype is one of the protocol's",
        text="input 'image': datatype is 'STRING', must be one of BOOL, .*, BYTES",
        grpc=message(tensor("image", "STRING", [1], bytes_contents=[b"png"])),
        rest=document(given("image", "STRING", [1], ["png"])),
    ),
    Refused(
        rule="no size of a shape is negative",
        text=r"input 'image': shape is \[-1\], no size may be negative",
        grpc=message(tensor("image", "BYTES", [-1], bytes_contents=[b"png"])),
        rest=document(given("image", "BYTES", [-1], ["png"])),
    ),
    Refused(
        rule="raw numbers are as long as shape times size",
        text=r"input 'input': 47 raw bytes were given, FP32 of shape \[1, 3, 2, 2\] needs 48",
        grpc=message(tensor("input", "FP32", [1, 3, 2, 2]), raw=[RAW_FEATURES[:-1]]),
        rest=binary(given("input", "FP32", [1, 3, 2, 2], binary_data_size=47), tail=RAW_FEATURES[:-1]),
    ),
    Refused(
        rule="typed elements are as many as the shape says",
        text=r"input 'input': 11 elements were given, shape \[1, 3, 2, 2\] needs 12",
        grpc=message(tensor("input", "FP32", [1, 3, 2, 2], fp32_contents=FEATURES[:-1])),
        rest=document(given("input", "FP32", [1, 3, 2, 2], FEATURES[:-1])),
    ),
    Refused(
        rule="a raw BYTES element says its length and has as many bytes",
        text="input 'image': element 0 says that it has 9 bytes, 3 are left",
        grpc=message(tensor("image", "BYTES", [1]), raw=[b"\x09\0\0\0png"]),
        rest=binary(given("image", "BYTES", [1], binary_data_size=7), tail=b"\x09\0\0\0png"),
    ),
    Refused(
        rule="raw BYTES elements are as many as the shape says",
        text=r"input 'image': the raw bytes end before element 1 of the 2 that shape \[2\] needs",
        grpc=message(tensor("image", "BYTES", [2]), raw=[element(b"png")]),
        rest=binary(given("image", "BYTES", [2], binary_data_size=7), tail=element(b"png")),
    ),
    Refused(
        rule="nothing is left over after the last raw BYTES element",
        text=r"input 'image': 1 raw bytes are left over after the 1 elements of shape \[1\]",
        grpc=message(tensor("image", "BYTES", [1]), raw=[element(b"png") + b"!"]),
        rest=binary(given("image", "BYTES", [1], binary_data_size=8), tail=element(b"png") + b"!"),
    ),
    Refused(
        rule="a raw BOOL is one byte, 0 or 1",
        text="input 'x': a raw BOOL must be 0 or 1",
        grpc=message(tensor("x", "BOOL", [2]), raw=[b"\x01\x02"]),
        rest=binary(given("x", "BOOL", [2], binary_data_size=2), tail=b"\x01\x02"),
    ),
    *(
        Refused(
            rule=f"{datatype} only travels raw",
            text=f"input 'x': {datatype} can only be sent (in raw_input_contents|as binary data)",
            grpc=message(tensor("x", datatype, [1], fp32_contents=[1.0])),
            rest=document(given("x", datatype, [1], [1.0])),
        )
        for datatype in ("FP16", "BF16")
    ),
    Refused(
        rule="contents must not be given beside raw_input_contents",
        text="input 'image': has contents, must not since raw_input_contents is used",
        grpc=message(tensor("image", "BYTES", [1], bytes_contents=[b"png"]), raw=[element(b"png")]),
    ),
    Refused(
        rule="raw_input_contents has an entry for every input: too few",
        text="raw_input_contents: 1 entries for 2 inputs, must be one an input or none",
        grpc=message(tensor("image", "BYTES", [1]), tensor("x", "BYTES", [1]), raw=[element(b"png")]),
    ),
    Refused(
        rule="raw_input_contents has an entry for every input: too many",
        text="raw_input_contents: 2 entries for 1 inputs, must be one an input or none",
        grpc=message(tensor("image", "BYTES", [1]), raw=[element(b"png")] * 2),
    ),
    Refused(
        rule="elements are in the field of their datatype",
        text="input 'image': the data is in fp32_contents, BYTES must be in bytes_contents alone",
        grpc=message(tensor("image", "BYTES", [1], fp32_contents=[1.0])),
    ),
    Refused(
        rule="elements are in one field only",
        text="input 'image': the data is in fp32_contents, bytes_contents, BYTES must be in bytes_.* alone",
        grpc=message(tensor("image", "BYTES", [1], fp32_contents=[1.0], bytes_contents=[b"png"])),
    ),
    Refused(
        rule="an integer is in the range of its datatype",
        text="input 'pixels': element 0 is 256, UINT8 holds 0 to 255",
        grpc=message(tensor("pixels", "UINT8", [1, 2, 2, 3], uint_contents=[256, *PIXELS[1:]])),
        rest=document(given("pixels", "UINT8", [1, 2, 2, 3], [256, *PIXELS[1:]])),
    ),
    Refused(
        rule="JSON numbers fit their datatype",
        text="input 'pixels': element 0 is 1.5, UINT8 takes integers",
        rest=document(given("pixels", "UINT8", [1, 2, 2, 3], [1.5, *PIXELS[1:]])),
    ),
    Refused(
        rule="nested JSON data is nested as the shape says",
        text=r"input 'pixels': data is nested otherwise than shape \[1, 2, 2, 3\] says",
        rest=document(given("pixels", "UINT8", [1, 2, 2, 3], [[1, 2], [3, 4]])),
    ),
    Refused(
        rule="as many inputs as the model takes: none",
        text=f"inputs: model '{MODEL}' takes exactly one of 'image', 'pixels', 'input', got none",
        grpc=message(),
        rest=document(),
    ),
    Refused(
        rule="as many inputs as the model takes: two",
        text=f"inputs: model '{MODEL}' takes exactly one of .*, got 'image', 'image'",
        grpc=message(*[tensor("image", "BYTES", [1])] * 2, raw=[element(b"png")] * 2),
        rest=document(IMAGE, IMAGE),
    ),
    Refused(
        rule="an input is one of the model's",
        text=f"inputs: model '{MODEL}' takes exactly one of .*, got 'x'",
        grpc=message(tensor("x", "BYTES", [1], bytes_contents=[b"png"])),
        rest=document(given("x", "BYTES", [1], ["png"])),
    ),
    Refused(
        rule="an output is one of the model's",
        text=f"output 'x' is not offered by model '{MODEL}': use one of .*",
        grpc=raw_image(outputs=[{"name": "x"}]),
        rest=json_image(outputs=[{"name": "x"}]),
    ),
    Refused(
        rule="an input has the model's datatype",
        text="input 'image': datatype is FP32, expected BYTES",
        grpc=message(tensor("image", "FP32", [1], fp32_contents=[1.0])),
        rest=document(given("image", "FP32", [1], [1.0])),
    ),
    Refused(
        rule="an input has the model's shape",
        text=r"input 'input': shape is \[1, 3, 2, 3\], expected \[N,3,2,2\]",
        grpc=message(tensor("input", "FP32", [1, 3, 2, 3], fp32_contents=[0.5] * 18)),
        rest=document(given("input", "FP32", [1, 3, 2, 3], [0.5] * 18)),
    ),
    Refused(
        rule="images are BYTES of shape [N] or [N,1]",
        text=r"input 'image': shape is \[1, 2\], expected \[N\] or \[N,1\]",
        grpc=message(tensor("image", "BYTES", [1, 2], bytes_contents=[b"a", b"b"])),
        rest=document(given("image", "BYTES", [1, 2], ["a", "b"])),
    ),
    Refused(
        rule="a batch holds something",
        text=r"input 'image': shape \[0\] holds no image",
        grpc=message(tensor("image", "BYTES", [0])),
        rest=document(given("image", "BYTES", [0], [])),
    ),
    Refused(
        rule="a bad image fails its request, and is named",
        text=r"image \[1\]: cannot decode: it begins with BAD",
        grpc=message(tensor("image", "BYTES", [2], bytes_contents=[b"png", b"BAD"])),
        rest=document(given("image", "BYTES", [2], ["png", "BAD"])),
    ),
)


@pytest.mark.parametrize("row", [row for row in REFUSED if row.grpc is not None], ids=lambda row: row.rule)
async def test_grpc_refuses(shared: Gateway, row: Refused) -> None:
    """A broken rule is INVALID_ARGUMENT, with a text that names it."""
    assert row.grpc is not None
    said = await ask_grpc(shared, row.grpc)
    assert said.code == "INVALID_ARGUMENT"
    assert re.fullmatch(row.text, said.error)


@pytest.mark.parametrize("row", [row for row in REFUSED if row.rest is not None], ids=lambda row: row.rule)
async def test_rest_refuses(shared: Gateway, row: Refused) -> None:
    """A broken rule is 400, with a text that names it."""
    assert row.rest is not None
    said = await ask_rest(shared, row.rest)
    assert said.code == 400
    assert re.fullmatch(row.text, said.error)
