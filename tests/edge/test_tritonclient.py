"""Triton's own clients, unchanged, understand both doors."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from serve.core.access import Access
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from tests.edge.doors import as_service, grpc_door, http_door
from tests.edge.fakes import FakeService

PROGRAM = Path(__file__).parent / "tritonclient_calls.py"


async def test_tritons_clients_work_unchanged(fake: FakeService) -> None:
    """Inference, readiness, metadata, configuration, index, statistics and streams arrive as meant."""
    app = build_rest_app(as_service(fake), Access(), EdgeLimits())
    async with http_door(app) as port, grpc_door(fake) as edge:
        process = await asyncio.create_subprocess_exec(
            sys.executable, PROGRAM, f"127.0.0.1:{port}", f"127.0.0.1:{edge.port}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    heard = json.loads(output)
    assert heard["http"].pop("json_label") == ["sieben"]
    assert heard["http"].pop("id") == "3"
    assert heard["grpc"].pop("stream") == ["3", "model 'nobody' is not found", "3"]
    assert heard["http"].pop("error") == "404 model 'nobody' is not found"
    assert heard["grpc"].pop("error") == "StatusCode.NOT_FOUND model 'nobody' is not found"
    assert heard["http"] == heard["grpc"] == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "probabilities": [[0.25, 0.75], [0.25, 0.75]],
        "label": ["sieben", "sieben"],
        "named": [[0.25, 0.75]],
        "metadata": ["statistics", "binary_tensor_data"],
        "model_metadata": ["1", "3"],
        "config": 8,
        "index": ["digits", "new"],
        "statistics": 8,
    }  # fmt: skip
    (sent,) = {request.inputs[0].data for request in fake.requests if request.request_id == "7"}
    assert sent == (b"\x89PNG\x00", b"x")
    assert all(request.parameters["priority"] == 1 for request in fake.requests if request.request_id == "7")
