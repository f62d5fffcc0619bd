"""The load: an open loop over one gRPC channel to all gateways, in a process of its own.

`python -m tests.fleet.callers ORDERS.json` first asks every image alone, which gives the baseline, and then
asks at the rate that standard input said last, whether answers come or not; it ends with SIGTERM. It
writes a line of JSON for each request, as tests.faults.callers does.

The channel is what a careful client has: it spreads calls over all addresses of the name (round_robin), and
lets gRPC ask another one when a gateway gave a call back before any part of an answer (retryPolicy, gRFC A6).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

import grpc
import grpc.aio
import numpy as np

from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.faults.callers import (
    BASELINE_TIMEOUT_S,
    TOLERANCE,
    Entry,
    FailedError,
    Logits,
    Way,
    baseline,
    question,
)

RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    # A gateway that ends refuses calls; those that come in its very last moment gRPC's core cancels.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to do.

    Attributes:
        target: Of the channel.
        token: Is shown with each call.
        model: Whom to ask.
        samples: Folder of the images.
        ledger: File that gets the lines.
        rate: Requests a second, at first.
        deadline_s: Of each request.
        retries: Whether gRPC may try again.
    """

    target: str
    token: str
    model: str
    samples: str
    ledger: str
    rate: float
    deadline_s: float
    retries: bool = True


class Channel:
    """Asks over a channel to all gateways."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if orders.retries:
            config["methodConfig"] = [{"name": [{}], "retryPolicy": RETRIES}]
        options = [
            ("grpc.service_config", json.dumps(config)),
            # Its own default of 30 s keeps a client from a new gateway for so long.
            ("grpc.dns_min_time_between_resolutions_ms", 1000),
        ]
        self._channel = grpc.aio.insecure_channel(orders.target, options=options)
        self._stub = pb_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {orders.token}"),)

    async def __call__(self, image: bytes) -> Logits:
        """Ask for the logits of one image; raises FailedError."""
        message = question(self._orders.model, image)
        try:
            reply = await self._stub.ModelInfer(
                message, timeout=self._orders.deadline_s, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise FailedError(error.code().name, error.details() or "") from None
        return np.frombuffer(reply.raw_output_contents[0], "<f4")

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


class Crowd:
    """Those who ask, however many are still waiting."""

    def __init__(self, way: Way, images: Sequence[bytes], rate: float, ledger: TextIO) -> None:
        self.rate = rate
        self._way = way
        self._images = images
        self._ledger = ledger
        self._expected: list[Logits] = []
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ask nothing more; what is under way is waited for."""
        self._ending.set()

    async def run(self) -> None:
        """Take the baseline, then ask until told to end."""
        self._expected = await asyncio.wait_for(baseline(self._way, self._images), BASELINE_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in count():
                due += 1 / self.rate
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), max(0.0, due - loop.time()))
                if self._ending.is_set():
                    break
                tasks.create_task(self._ask(number % len(self._images)))

    async def _ask(self, index: int) -> None:
        start = time.monotonic()
        try:
            answer = await self._way(self._images[index])
        except FailedError as error:
            outcome, message = error.outcome, error.message or "no message"
        else:
            right = np.allclose(answer, self._expected[index], rtol=0, atol=TOLERANCE)
            outcome, message = ("ok", "") if right else ("wrong", f"image {index} got {answer.tolist()}")
        entry = Entry(start=start, seconds=time.monotonic() - start, outcome=outcome, message=message)
        self._ledger.write(json.dumps(asdict(entry)) + "\n")


async def main() -> None:
    """Follow the orders in the file that the command line names."""
    orders = Orders(**json.loads(Path(sys.argv[1]).read_text()))  # noqa: ASYNC240  nothing else runs yet
    images = [path.read_bytes() for path in sorted(Path(orders.samples).iterdir())]  # noqa: ASYNC240  as above
    channel, loop = Channel(orders), asyncio.get_running_loop()
    with Path(orders.ledger).open("w", buffering=1) as ledger:  # noqa: ASYNC230  as above
        crowd = Crowd(channel, images, orders.rate, ledger)

        def hear() -> None:
            if line := sys.stdin.readline():
                crowd.rate = float(line)

        loop.add_signal_handler(signal.SIGTERM, crowd.end)
        loop.add_reader(sys.stdin, hear)
        await crowd.run()
    await channel.close()


if __name__ == "__main__":
    asyncio.run(main())
