"""Callers in a closed loop that cost as little as callers can, in a process of their own.

The requests are made once, as the bytes that go over the wire; of the answers only that they are none of
errors is looked at.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import grpc
import grpc.aio

from loadtests.gateway.instant import MODEL, SIDE
from loadtests.stack import Target
from loadtests.traffic.wire import HEADER_LENGTH, Tensor, length_prefixed
from serve.pb import open_inference_pb2 as pb

TIMEOUT_S: Final = 60.0
_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_PIXELS: Final = 224

Ask = Callable[[], Awaitable[None]]


class AnswerError(Exception):
    """An answer is an error, or none at all: nothing can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who asks what, for how long.

    Attributes:
        target: The server.
        kind: A key of `KINDS`.
        callers: Concurrent ones, each with a connection of its own.
        seconds: How long they go on.
    """

    target: Target
    kind: str
    callers: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """What came of it; `cpu_s` is the CPU time of the callers' own process."""

    requests: int
    seconds: float
    cpu_s: float


class Callers:
    """A handle on the callers' process; idle between two runs."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def run(self, load: Load) -> LoadRun:
        """Keep every caller asking for so long.

        Raises:
            AnswerError: An answer was none.
        """
        return self._process.submit(_run, load).result()

    def answer(self, target: Target) -> bytes:
        """One answer over gRPC, as bytes."""
        return self._process.submit(_answer, target).result()


@contextmanager
def callers() -> Iterator[Callers]:
    """Start the process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield Callers(process)


def _run(load: Load) -> LoadRun:
    cpu, begun = time.process_time(), time.perf_counter()
    requests = asyncio.run(_closed_loop(load))
    return LoadRun(requests=requests, seconds=time.perf_counter() - begun, cpu_s=time.process_time() - cpu)


def _answer(target: Target) -> bytes:
    with grpc.insecure_channel(target.grpc) as channel:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        return infer(_grpc_message(_encoded(20)), timeout=TIMEOUT_S)


async def _closed_loop(load: Load) -> int:
    counts = [0] * load.callers
    connect = KINDS[load.kind]
    async with AsyncExitStack() as stack:
        asks = [await connect(load.target, stack) for _ in range(load.callers)]
        ends = time.perf_counter() + load.seconds

        async def call(number: int) -> None:
            while time.perf_counter() < ends:
                await asks[number]()
                counts[number] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(load.callers):
                group.create_task(call(number))
    return sum(counts)


def _grpc(tensor: Tensor) -> Callable[[Target, AsyncExitStack], Awaitable[Ask]]:
    message = _grpc_message(tensor)

    async def connect(target: Target, stack: AsyncExitStack) -> Ask:
        # A connection for each caller: in one process they would share one otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target.grpc, options=options))
        infer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)

        async def ask() -> None:
            await infer(message, timeout=TIMEOUT_S)

        return ask

    return connect


def _rest(body: bytes, headers: str) -> Callable[[Target, AsyncExitStack], Awaitable[Ask]]:
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\n{headers}"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def connect(target: Target, stack: AsyncExitStack) -> Ask:
        address = urlsplit(target.http)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        stack.callback(writer.close)

        async def ask() -> None:
            writer.write(request)
            await _read_answer(reader)

        return ask

    return connect


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    if " 200 " not in status:
        raise AnswerError(f"{status}: {body!r}")


def _rest_binary(tensor: Tensor) -> Callable[[Target, AsyncExitStack], Awaitable[Ask]]:
    fields = _fields(tensor) | {"parameters": {"binary_data_size": len(tensor.raw)}}
    header = json.dumps({"inputs": [fields], "parameters": {"binary_data_output": True}}).encode()
    return _rest(header + tensor.raw, f"{HEADER_LENGTH}: {len(header)}\r\n")


def _rest_json(kilobytes: int) -> Callable[[Target, AsyncExitStack], Awaitable[Ask]]:
    data = [base64.b64encode(_noise(1000 * kilobytes)).decode()]
    fields = _fields(_encoded(kilobytes)) | {"parameters": {"encoding": "base64"}, "data": data}
    return _rest(json.dumps({"inputs": [fields]}).encode(), "Content-Type: application/json\r\n")


def _fields(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _grpc_message(tensor: Tensor) -> bytes:
    request = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[tensor.raw])
    request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return request.SerializeToString()


def _encoded(kilobytes: int) -> Tensor:
    """An image file of that size, as far as anybody can tell who does not decode it."""
    raw = length_prefixed([_noise(1000 * kilobytes)])
    return Tensor(name="image", datatype="BYTES", shape=(1,), raw=raw)


def _pixels() -> Tensor:
    shape = (1, _PIXELS, _PIXELS, 3)
    return Tensor(name="pixels", datatype="UINT8", shape=shape, raw=_noise(3 * _PIXELS**2))


def _floats() -> Tensor:
    return Tensor(name="input", datatype="FP32", shape=(1, 3, SIDE, SIDE), raw=bytes(4 * 3 * SIDE**2))


def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# What is asked, in the order of the table.
KINDS: Final = {
    "gRPC JPEG 20 KB": _grpc(_encoded(20)),
    "gRPC JPEG 55 KB": _grpc(_encoded(55)),
    "gRPC uint8 150 KB": _grpc(_pixels()),
    "gRPC fp32 150 KB": _grpc(_floats()),
    "REST binary JPEG 55 KB": _rest_binary(_encoded(55)),
    "REST JSON JPEG 55 KB": _rest_json(55),
}
