"""How a server is asked: the protocols, each from an image to the class that the answer names.

Requests are made once, before the clock runs; what an answer costs the generator is reading the class in it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
import grpc.aio
import numpy as np

from loadtests.traffic.wire import HEADER_LENGTH, length_prefixed, texts
from serve.pb import open_inference_pb2 as oip
from serve.pb import torchserve_inference_pb2 as torchserve

TIMEOUT_S: Final = 120.0
_FILE_NAME: Final = "image.jpg"
Ask: TypeAlias = Callable[[int], Awaitable[int]]


class AnswerError(Exception):
    """A server refused a request, or what came back names no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A protocol at a port.

    Attributes:
        name: For people.
        protocol: A key of PROTOCOLS.
        path: Of the URL, or the model's name for gRPC.
        part: The name of the form's file.
        port: Which of the server's ports.
    """

    name: str
    protocol: str
    path: str
    part: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What is sent: JPEG files, or the raw uint8 pixels [H,W,3] of a net's own size.

    Attributes:
        blobs: One a request.
        shape: (H, W, 3) of raw pixels; empty: files.
    """

    blobs: tuple[bytes, ...]
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask for what.

    Attributes:
        door: How.
        address: host:port.
        labels: Of the classes in their order, where answers name these.
    """

    door: Door
    address: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Method:
    """A gRPC method: its path, and what lies between bytes and its meaning."""

    path: str
    request: Callable[[Door, bytes, tuple[int, ...]], bytes]
    answer: Callable[[bytes, Mapping[str, int]], int]


Asking: TypeAlias = Callable[[Target, Images], AbstractAsyncContextManager[Ask]]


def asking(target: Target, images: Images) -> AbstractAsyncContextManager[Ask]:
    """A caller with a connection of its own: give the place of an image, get the class of the answer."""
    return PROTOCOLS[target.door.protocol](target, images)


def _grpc(method: _Method) -> Asking:
    @asynccontextmanager
    async def caller(target: Target, images: Images) -> AsyncIterator[Ask]:
        requests = [method.request(target.door, blob, images.shape) for blob in images.blobs]
        classes = {label: number for number, label in enumerate(target.labels)}
        # A connection for each caller: in one process they would share one otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(target.address, options=options) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method.path)

            async def ask(place: int) -> int:
                try:
                    return method.answer(await call(requests[place], timeout=TIMEOUT_S), classes)
                except grpc.aio.AioRpcError as error:
                    raise AnswerError(f"{error.code().name}: {error.details()}") from error

            yield ask

    return caller


def _oip_request(outputs: Sequence[str]) -> Callable[[Door, bytes, tuple[int, ...]], bytes]:
    def request(door: Door, blob: bytes, shape: tuple[int, ...]) -> bytes:
        message = oip.ModelInferRequest(model_name=door.path)
        if shape:
            message.inputs.add(name="pixels", datatype="UINT8", shape=(1, *shape))
        else:
            message.inputs.add(name="image", datatype="BYTES", shape=(1,))
        message.raw_input_contents.append(blob if shape else length_prefixed([blob]))
        for name in outputs:
            message.outputs.add(name=name)
        return message.SerializeToString()

    return request


def _oip_label(body: bytes, classes: Mapping[str, int]) -> int:
    (raw,) = oip.ModelInferResponse.FromString(body).raw_output_contents
    return classes[texts(raw)[0]]


def _oip_class(body: bytes, _classes: Mapping[str, int]) -> int:
    """The first output, INT64 [1] or [1,1], in either place that the protocol allows."""
    response = oip.ModelInferResponse.FromString(body)
    if response.raw_output_contents:
        return int(np.frombuffer(response.raw_output_contents[0], "<i8")[0])
    return int(response.outputs[0].contents.int64_contents[0])


def _torchserve_request(door: Door, blob: bytes, _shape: tuple[int, ...]) -> bytes:
    return torchserve.PredictionsRequest(model_name=door.path, input={"data": blob}).SerializeToString()


def _torchserve_answer(body: bytes, _classes: Mapping[str, int]) -> int:
    return _json_class(torchserve.PredictionResponse.FromString(body).prediction)


def _json_class(body: bytes) -> int:
    found: Any = json.loads(body)
    return int((found[0] if isinstance(found, list) else found)["class"])


@asynccontextmanager
async def _raw(target: Target, images: Images) -> AsyncIterator[Ask]:
    async with _posting(target) as post:

        async def ask(place: int) -> int:
            return _json_class(await post(images.blobs[place], {"Content-Type": "application/octet-stream"}))

        yield ask


@asynccontextmanager
async def _form(target: Target, images: Images) -> AsyncIterator[Ask]:
    """A multipart form; written once, since it is the same bytes every time."""
    edge = "----the-edge-of-a-part"
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="{target.door.part}"; filename="{_FILE_NAME}"\r\n'
        f"Content-Type: {'application/octet-stream' if images.shape else 'image/jpeg'}\r\n\r\n"
    )
    forms = [head.encode() + blob + f"\r\n--{edge}--\r\n".encode() for blob in images.blobs]
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    async with _posting(target) as post:

        async def ask(place: int) -> int:
            return _json_class(await post(forms[place], headers))

        yield ask


@asynccontextmanager
async def _rest(target: Target, images: Images) -> AsyncIterator[Ask]:
    """The Open Inference Protocol's binary extension."""
    bodies = [_rest_body(blob, images.shape) for blob in images.blobs]
    classes = {label: number for number, label in enumerate(target.labels)}
    async with _posting(target) as post:

        async def ask(place: int) -> int:
            body, length = bodies[place]
            found = json.loads(await post(body, {HEADER_LENGTH: length}))
            return classes[found["outputs"][0]["data"][0]]

        yield ask


def _rest_body(blob: bytes, shape: tuple[int, ...]) -> tuple[bytes, str]:
    raw = blob if shape else length_prefixed([blob])
    form = {"name": "pixels", "datatype": "UINT8", "shape": [1, *shape]}
    tensor = form if shape else {"name": "image", "datatype": "BYTES", "shape": [1]}
    document = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "label"}],
    }
    header = json.dumps(document).encode()
    return header + raw, str(len(header))


@asynccontextmanager
async def _posting(target: Target) -> AsyncIterator[Callable[[bytes, Mapping[str, str]], Awaitable[bytes]]]:
    url = f"http://{target.address}{target.door.path}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def post(body: bytes, headers: Mapping[str, str]) -> bytes:
            try:
                async with session.post(url, data=body, headers=headers) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise AnswerError(f"{url}: {error!r}") from error
            if response.status != 200:  # noqa: PLR2004  HTTP's OK
                raise AnswerError(f"{url}: {response.status}: {answer[:200].decode(errors='replace')}")
            return answer

        yield post


_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_PREDICT: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
PROTOCOLS: Final[Mapping[str, Asking]] = {
    "attnserve-grpc": _grpc(_Method(_INFER, _oip_request(["label"]), _oip_label)),
    "attnserve-rest": _rest,
    "oip-grpc": _grpc(_Method(_INFER, _oip_request([]), _oip_class)),
    "torchserve-grpc": _grpc(_Method(_PREDICT, _torchserve_request, _torchserve_answer)),
    "http-raw": _raw,
    "http-form": _form,
}
