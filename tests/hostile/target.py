"""The gateway that is attacked, and a neighbour of the attackers who must not notice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve.engines.fake import class_of
from serve.pb import open_inference_pb2 as pb
from tests.hostile.gateway_process import CLASSES, MODEL

ROOT = Path(__file__).parents[2]
INFER = f"/v2/models/{MODEL}/infer"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
START_S = 60.0
# A neighbour's answer takes milliseconds; so much is allowed on a machine that does many other things.
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Target:
    """A running gateway."""

    process: psutil.Process
    folder: Path

    @cached_property
    def addresses(self) -> dict[str, str]:
        """What it wrote down: http, grpc, metrics."""
        found: dict[str, str] = json.loads((self.folder / "addresses.json").read_text())
        return found

    @property
    def http_port(self) -> int:
        """Of REST, on loopback."""
        return int(self.addresses["http"].rpartition(":")[2])

    @property
    def grpc_port(self) -> int:
        """Of gRPC, on loopback."""
        return int(self.addresses["grpc"].rpartition(":")[2])

    @property
    def resident_bytes(self) -> int:
        """Its memory."""
        resident: int = self.process.memory_info().rss
        return resident

    def log(self) -> str:
        """All that it wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def sample(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        text = httpx.get(self.addresses["metrics"], timeout=PATIENCE_S, trust_env=False).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def started(folder: Path) -> Iterator[Target]:
    """Run a gateway while the context lasts."""
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tests.hostile.gateway_process", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    target = Target(psutil.Process(process.pid), folder)
    try:
        _wait_ready(target, process)
        yield target
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def _wait_ready(target: Target, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{target.addresses['http']}/v2/health/ready", trust_env=False).is_success:
                return
        except (FileNotFoundError, ValueError, httpx.TransportError):
            vars(target).pop("addresses", None)
        time.sleep(0.1)
    pytest.fail(f"the gateway did not start:\n{target.log()}", pytrace=False)


@dataclass
class Neighbour:
    """Somebody with right requests at both doors, each of which must be answered, rightly and in time."""

    target: Target
    answers: int = 0
    slowest_s: float = 0.0
    asked: int = field(default=0)

    async def ask(self, channel: grpc.aio.Channel, rest: httpx.AsyncClient) -> None:
        """One image at each door."""
        image = f"neighbour {self.asked}".encode()
        self.asked += 1
        started_at = time.monotonic()
        labels = await asyncio.gather(_over_grpc(channel, image), _over_rest(rest, image))
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_at)
        assert set(labels) == {str(class_of(image, CLASSES))}
        self.answers += 1


async def _over_grpc(channel: grpc.aio.Channel, image: bytes) -> str:
    message = pb.ModelInferRequest(model_name=MODEL)
    message.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(image)
    call = channel.unary_unary(
        MODEL_INFER,
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    answer = await call(message, timeout=PATIENCE_S)
    label: bytes = answer.outputs[1].contents.bytes_contents[0]
    return label.decode()


async def _over_rest(rest: httpx.AsyncClient, image: bytes) -> str:
    headers = {"Inference-Header-Content-Length": "0", "Accept": "application/json"}
    answer = await rest.post(INFER, content=image, headers=headers)
    assert answer.status_code == 200, answer.text
    label: str = answer.json()["outputs"][1]["data"][0]
    return label


@asynccontextmanager
async def neighbour(target: Target) -> AsyncIterator[Neighbour]:
    """Somebody who asks all the time while the context lasts, and once more at its end."""
    asking = Neighbour(target)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        grpc.aio.insecure_channel(target.addresses["grpc"], options=options) as channel,
        httpx.AsyncClient(base_url=target.addresses["http"], timeout=PATIENCE_S, trust_env=False) as rest,
    ):
        await asking.ask(channel, rest)  # also opens its connections, which others may then be short of

        async def ask_on() -> None:
            while True:
                await asking.ask(channel, rest)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(ask_on())
        try:
            yield asking
        finally:
            task.cancel()
            ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended
        await asking.ask(channel, rest)
    assert asking.slowest_s < PATIENCE_S
