"""Far more requests than the real engine can answer: no hang, prompt refusals, bounded memory, recovery."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import grpc
import numpy as np
import psutil
import pytest

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.oip import ask, grpc_raw
from tests.e2e.stacks import Stack, StartStack

MODEL = "digits_sk"
IMAGES = 64  # so that the engine has far more work with a request than whoever sends it
DEADLINE_S = 1.0
FLOOD_S = 3.0
CALLERS = 96


@pytest.fixture
def flooded(start_stack: StartStack) -> Stack:
    """A gateway with one model, whose queue takes more than it can answer before the deadline."""
    return start_stack(models=f'["{MODEL}"]', batching_max_queue_images=100_000)


async def flood(stack: Stack, request: pb.ModelInferRequest) -> list[tuple[str, float]]:
    """Callers that ask again as soon as they have heard; gives every end and how long it took."""
    ends: list[tuple[str, float]] = []
    until = time.monotonic() + FLOOD_S
    async with grpc.aio.insecure_channel(stack.addresses["grpc"]) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)

        async def caller() -> None:
            while (began := time.monotonic()) < until:
                try:
                    await stub.ModelInfer(request, timeout=DEADLINE_S)
                    end = "OK"
                except grpc.aio.AioRpcError as error:
                    end = error.code().name
                ends.append((end, time.monotonic() - began))
                if end != "OK":
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return ends


@pytest.mark.slow
def test_a_flood_is_survived(flooded: Stack, demo: Demo) -> None:
    """Every call ends in time and in one of three ways, the memory stays, and then all is as before."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="input", datatype="FP32")
    inputs = np.resize(demo.inputs, (IMAGES, *demo.inputs.shape[1:]))
    tensor.shape.extend(inputs.shape)
    request = pb.ModelInferRequest(model_name=MODEL, inputs=[tensor], raw_input_contents=[inputs.tobytes()])
    process = psutil.Process(flooded.process.pid)
    asyncio.run(flood(flooded, request))  # buffers, pools and arenas reach their size
    before = process.memory_info().rss
    ends = asyncio.run(flood(flooded, request))
    grown = process.memory_info().rss - before
    counts = Counter(end for end, _ in ends)
    assert set(counts) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}, counts
    assert counts["OK"] > 0
    assert counts["RESOURCE_EXHAUSTED"] > counts["DEADLINE_EXCEEDED"], counts
    assert max(seconds for _, seconds in ends) < DEADLINE_S + 2.0
    refusals = sorted(seconds for end, seconds in ends if end == "RESOURCE_EXHAUSTED")
    assert refusals[len(refusals) // 2] < 0.25 * DEADLINE_S
    assert grown < 64 << 20
    began = time.monotonic()
    assert grpc_raw(flooded, ask(MODEL, demo.images[0])).labels
    assert time.monotonic() - began < 5.0
