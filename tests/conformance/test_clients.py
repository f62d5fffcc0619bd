"""The clients that people have work unchanged: Triton's in all four ways, and KServe's by what it sends."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import MODEL, Gateway, gateway, label_of
from tests.conformance.wire import Body, ask_grpc, ask_rest

PROGRAM = Path(__file__).with_name("triton_program.py")
NOT_OFFERED = "the extension {!r} is not offered by this server"


def _need_aiohttp(way: str) -> None:
    if way != "http.aio" or importlib.util.find_spec("aiohttp") is not None:
        return
    message = "needs aiohttp; to install it: pip install aiohttp"
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.mark.parametrize("way", ["grpc", "grpc.aio", "http", "http.aio"])
async def test_tritons_client(way: str) -> None:
    """Everything that it offers and that is here means the same in each way; the rest is refused by name."""
    _need_aiohttp(way)
    async with gateway() as fresh:
        addresses = (f"127.0.0.1:{fresh.http_port}", f"127.0.0.1:{fresh.edge.port}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, PROGRAM, way, *addresses, MODEL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
        asked = fresh.house.loads.asked
    assert process.returncode == 0, errors.decode()
    heard: dict[str, Any] = json.loads(output)
    over_grpc = way.startswith("grpc")
    _check_errors(heard.pop("errors"), over_grpc=over_grpc)
    first = label_of(b"png")
    assert heard.pop("stream") == ([first, "model 'nobody' is not found", first] if over_grpc else [])
    images = [first, label_of(b"\xff\xd8")]
    assert heard == {
        "health": [True, True, True, True, False],
        "inputs": [images, images, [label_of(bytes([7] * 12))] * 2, [label_of(b"\0\0\0\x3f" * 12)]],
        "outputs": [["int32", [2]], ["float32", [2, 10]], ["float32", [2, 3]]],
        "classification": [["0.900000", "0.011111"]] * 2,
        "circumstances": [MODEL, "1", "7"],
        "compression": [sorted(set(images))] * 3,
        "metadata": ["attnserve", ["1", "2"], 16, True],
        "statistics": [1, 2],
        "repository": ["digits_loading LOADING", "digits_plain READY", f"{MODEL} READY"],
        "tidying": 0,
    }
    assert asked == [("load", MODEL), ("unload", MODEL)]


def _check_errors(errors: list[str], *, over_grpc: bool) -> None:
    unknown, shape, version, memory, trace, logging = errors
    prefix = "StatusCode." if over_grpc else ""
    not_found, invalid, absent = (
        ("NOT_FOUND", "INVALID_ARGUMENT", "UNIMPLEMENTED") if over_grpc else ("404", "400", "501")
    )
    assert unknown == f"{prefix}{not_found} model 'nobody' is not found"
    assert shape == f"{prefix}{invalid} input 'pixels': shape is [1, 2, 2, 4], expected [N,H,W,3]"
    assert version == f"{prefix}{not_found} model '{MODEL}' has no version 'v10'; known: 1, 2"
    for found, extension in ((memory, "system_shared_memory"), (trace, "trace"), (logging, "logging")):
        assert found.startswith(f"{prefix}{absent} {NOT_OFFERED.format(extension)}")


# What kserve 0.21.0 makes of some requests (InferRequest.to_rest and .to_grpc, which its clients send). The
# package cannot be installed beside ours: it wants another protobuf.
VECTORS = json.loads((Path(__file__).parent / "vectors" / "kserve.json").read_text())["requests"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
async def test_what_kserves_client_sends(shared: Gateway, vector: dict[str, Any]) -> None:
    """Byte for byte as recorded, at both doors: the images that were meant are named."""
    body = Body(content=base64.b64decode(vector["rest"]), headers=vector["headers"])
    request = pb.ModelInferRequest.FromString(base64.b64decode(vector["grpc"]))
    expected = [label_of(base64.b64decode(image)) for image in vector["images"]]
    over_rest, over_grpc = await ask_rest(shared, body), await ask_grpc(shared, request)
    assert over_rest.output("label")["data"] == over_grpc.output("label")["data"] == expected
