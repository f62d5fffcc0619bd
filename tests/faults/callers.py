"""The load: callers that ask one image after another, in a process of their own; it ends with SIGTERM.

`python -m tests.faults.callers ORDERS.json` first asks every image alone, which gives the baseline, and from
then on writes a line of JSON for each request: when it began, how long it took, how it ended. Half of the
callers use gRPC, half REST.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

import grpc
import grpc.aio
import httpx
import numpy as np
from numpy.typing import NDArray

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc

Logits = NDArray[np.float32]
Way = Callable[[bytes], Awaitable[Logits]]
# Of a logit: batches of different sizes add up in different orders.
TOLERANCE = 1e-3
PAUSE_AFTER_FAILURE_S = 0.05
BASELINE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to do.

    Attributes:
        http: The address of the REST door, with its scheme.
        grpc: The address of the gRPC door.
        model: Whom to ask.
        samples: Folder of the images.
        ledger: File that gets the lines.
        callers: How many.
        pause_s: Between an answer and the next question of the same caller.
        deadline_s: Of each request.
    """

    http: str
    grpc: str
    model: str
    samples: str
    ledger: str
    callers: int
    pause_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How one request ended.

    Attributes:
        start: When it began, on the monotonic clock, which all processes share.
        seconds: How long it took.
        outcome: `ok`, `wrong`, gRPC's code by name, HTTP's number, or the name of httpx's error.
        message: Of a failure.
    """

    start: float
    seconds: float
    outcome: str
    message: str = ""


class FailedError(Exception):
    """The request was not answered: outcome and message."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(f"{outcome}: {message}")
        self.outcome = outcome
        self.message = message


def question(model: str, image: bytes) -> pb.ModelInferRequest:
    """Asks a model for the logits of one image."""
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(len(image).to_bytes(4, "little") + image)
    message.outputs.add(name="logits")
    return message


class GrpcWay:
    """Asks over gRPC, through a connection of its own."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(orders.grpc, options=options)
        self._stub = pb_grpc.GRPCInferenceServiceStub(self._channel)

    async def __call__(self, image: bytes) -> Logits:
        """Ask for the logits of one image; raises FailedError."""
        try:
            reply = await self._stub.ModelInfer(
                question(self._orders.model, image), timeout=self._orders.deadline_s
            )
        except grpc.aio.AioRpcError as error:
            raise FailedError(error.code().name, error.details() or "") from None
        return np.frombuffer(reply.raw_output_contents[0], "<f4")

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


class RestWay:
    """Asks over REST, through a connection of its own."""

    def __init__(self, orders: Orders) -> None:
        self._path = f"/v2/models/{orders.model}/infer"
        self._client = httpx.AsyncClient(base_url=orders.http, timeout=orders.deadline_s, trust_env=False)

    async def __call__(self, image: bytes) -> Logits:
        """Ask for the logits of one image; raises FailedError."""
        blob = len(image).to_bytes(4, "little") + image
        size = {"binary_data_size": len(blob)}
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": size}
        header = json.dumps({"inputs": [tensor], "outputs": [{"name": "logits"}]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(header))}
        try:
            reply = await self._client.post(self._path, content=header + blob, headers=headers)
        except httpx.HTTPError as error:
            raise FailedError(type(error).__name__, str(error)) from None
        if not reply.is_success:
            raise FailedError(str(reply.status_code), reply.json()["error"])
        return np.array(reply.json()["outputs"][0]["data"], np.float32)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


async def baseline(way: Way, images: Sequence[bytes]) -> list[Logits]:
    """What each image gets when nothing is wrong; no two may be so alike that a mix-up would pass."""
    rows = [await way(image) for image in images]
    nearest = min(np.abs(a - b).max() for i, a in enumerate(rows) for b in rows[:i])
    assert nearest > 10 * TOLERANCE, f"two images differ by {nearest} only"
    return rows


class Callers:
    """All of them."""

    def __init__(self, images: Sequence[bytes], ledger: TextIO, pause_s: float) -> None:
        """Nobody asks before `run`.

        Args:
            images: What to ask about.
            ledger: Gets a line for each request.
            pause_s: Between an answer and the next question of the same caller.
        """
        self._images = images
        self._ledger = ledger
        self._pause_s = pause_s
        self._expected: list[Logits] = []
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ask nothing more; what is under way is waited for."""
        self._ending.set()

    async def run(self, ways: Sequence[Way]) -> None:
        """Take the baseline, then ask until told to end; one caller for each of the ways."""
        self._expected = await asyncio.wait_for(baseline(ways[0], self._images), BASELINE_TIMEOUT_S)
        await asyncio.gather(*(self._ask_on(way, 7 * number) for number, way in enumerate(ways)))

    async def _ask_on(self, way: Way, first: int) -> None:
        for number in count(first):
            entry = await self._ask(way, number % len(self._images))
            self._ledger.write(json.dumps(asdict(entry)) + "\n")
            pause_s = PAUSE_AFTER_FAILURE_S if entry.message else self._pause_s
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause_s)
            if self._ending.is_set():
                break

    async def _ask(self, way: Way, index: int) -> Entry:
        start = time.monotonic()
        try:
            answer = await way(self._images[index])
        except FailedError as error:
            outcome, message = error.outcome, error.message or "no message"
        else:
            right = np.allclose(answer, self._expected[index], rtol=0, atol=TOLERANCE)
            outcome, message = ("ok", "") if right else ("wrong", f"image {index} got {answer.tolist()}")
        return Entry(start=start, seconds=time.monotonic() - start, outcome=outcome, message=message)


async def main() -> None:
    """Follow the orders in the file that the command line names."""
    orders = Orders(**json.loads(Path(sys.argv[1]).read_text()))  # noqa: ASYNC240  nothing else runs yet
    images = [path.read_bytes() for path in sorted(Path(orders.samples).iterdir())]  # noqa: ASYNC240
    ways = [(GrpcWay, RestWay)[number % 2](orders) for number in range(orders.callers)]
    with Path(orders.ledger).open("w", buffering=1) as ledger:  # noqa: ASYNC230
        callers = Callers(images, ledger, orders.pause_s)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, callers.end)
        await callers.run(ways)
    for way in ways:
        await way.close()


if __name__ == "__main__":
    asyncio.run(main())
