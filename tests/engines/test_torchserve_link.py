"""What TorchServe's failures mean, how its log explains a failed load, and when a connection is made anew."""

from __future__ import annotations

import asyncio
import socket

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty

from serve.core.errors import EngineError
from serve.core.messages import ModelRef
from serve.engines.torchserve import load_failure
from serve.engines.torchserve_link import PUBLIC_MESSAGES, ChannelOptions, Link, classify
from serve.pb.torchserve_inference_pb2_grpc import InferenceAPIsServiceStub

CODE = grpc.StatusCode
INTERNAL_SERVER = "\norg.pytorch.serve.http.InternalServerException"
NOT_FOUND = "\norg.pytorch.serve.archive.model.Model{}NotFoundException"


@pytest.mark.parametrize(
    ("code", "details", "reason", "retryable"),
    [
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", "timeout", True),
        (CODE.RESOURCE_EXHAUSTED, "Worker died." + INTERNAL_SERVER, "lost", True),
        (CODE.INTERNAL, "Worker died." + INTERNAL_SERVER, "lost", True),
        (CODE.INTERNAL, 'Model "m" Version 1" has no worker to serve inference request.', "overloaded", True),
        (CODE.INTERNAL, "Out of resources" + INTERNAL_SERVER, "lost", True),
        (CODE.INTERNAL, "Model not found: m" + NOT_FOUND.format(""), "missing", False),
        (CODE.INTERNAL, "Model version: 9 does not exist" + NOT_FOUND.format("Version"), "missing", False),
        (CODE.NOT_FOUND, "Model version: 9 does not exist" + NOT_FOUND.format("Version"), "missing", False),
        (CODE.PERMISSION_DENIED, "Token Authorization failed.", "refused", True),
        (CODE.UNAUTHENTICATED, "", "refused", True),
        (CODE.INVALID_ARGUMENT, "", "refused", False),
        (CODE.UNIMPLEMENTED, "Method not found!", "refused", False),
        (CODE.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (9 vs. 8)", "refused", False),
        (CODE.RESOURCE_EXHAUSTED, "too busy" + INTERNAL_SERVER, "overloaded", True),
        (CODE.UNAVAILABLE, "Prediction failed" + INTERNAL_SERVER, "lost", True),
        (CODE.UNAVAILABLE, "number of batch response mismatched" + INTERNAL_SERVER, "lost", True),
        (CODE.UNAVAILABLE, "Invalid model predict output" + INTERNAL_SERVER, "lost", True),
        (CODE.UNAVAILABLE, "failed to connect to all addresses", "unreachable", True),
        (CODE.UNAVAILABLE, "Socket closed", "unreachable", True),
        (CODE.CANCELLED, "RST_STREAM error code 8", "lost", True),
        (CODE.INTERNAL, "", "lost", True),
        (CODE.UNKNOWN, "", "lost", True),
    ],
)
def test_a_failure_means(code: grpc.StatusCode, details: str, reason: str, retryable: bool) -> None:
    """Code and text decide together, as TorchServe 0.12 words them."""
    assert classify(code, details) == (reason, retryable)


@pytest.mark.parametrize("code", list(CODE))
def test_every_code_has_a_reason_and_a_public_message(code: grpc.StatusCode) -> None:
    """No failure falls through the table."""
    assert classify(code, "anything")[0] in PUBLIC_MESSAGES


LOG = """\
2026-01-01T00:00:00,000 INFO  [W-9000-net_1-stdout] Torch worker started.
2026-01-01T00:00:00,000 INFO  [W-9001-other_1-stdout] ValueError: not ours
2026-01-01T00:00:00,000 INFO  [W-9000-net_1-stdout] Traceback (most recent call last):
2026-01-01T00:00:00,000 INFO  [W-9000-net_1-stdout]   File "attn_entry.py", line 8, in initialize
2026-01-01T00:00:00,000 INFO  [W-9000-net_1-stdout]     raise ValueError("no weights")
2026-01-01T00:00:00,000 INFO  [W-9000-net_1-stdout] package.errors.LoadError: no weights
2026-01-01T00:00:00,000 WARN  [W-9000-net_1] Load model failed: net, error: Worker died."""


def test_the_log_explains_a_failed_load() -> None:
    """The last line of the traceback of this very model's worker."""
    assert load_failure(LOG.splitlines(), ModelRef(name="net", version="1")) == (
        "package.errors.LoadError: no weights"
    )


def test_a_log_that_says_nothing_explains_nothing() -> None:
    """A model whose worker does not occur in it has no reason, nor what a worker says of every model."""
    assert load_failure(LOG.splitlines(), ModelRef(name="net", version="2")) == ""
    always = "t INFO  [W-9000-net_2-stdout] model_name: net, batchSize: 1 "
    assert load_failure([always], ModelRef(name="net", version="2")) == ""


def test_a_runtime_error_is_dug_out() -> None:
    """TorchServe logs it in a line of its own and raises a meaningless one after it."""
    lines = [
        "t INFO  [W-9000-net_1-stdout] Failed to load model net, exception SHA256SUMS: model.pt differs",
        "t INFO  [W-9000-net_1-stdout] RuntimeError: SHA256SUMS: model.pt differs",
        "t INFO  [W-9000-net_1-stdout] RuntimeError: 500 - Unknown exception",
    ]
    assert load_failure(lines, ModelRef(name="net", version="1")) == "SHA256SUMS: model.pt differs"


async def test_a_new_token_begins_anew() -> None:
    """A restarted engine at the old address is reached at once, however often the old one was not."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    tokens = ["old"]
    link = Link(
        "e", InferenceAPIsServiceStub, lambda: f"127.0.0.1:{port}", lambda: tokens[-1], ChannelOptions()
    )
    for _ in range(3):
        with pytest.raises(EngineError, match="cannot be reached"):
            await link.call("Ping", Empty(), 5.0)
        await asyncio.sleep(0.15)
    with pytest.raises(EngineError, match="cannot be reached"):
        await link.call("Ping", Empty(), 5.0)
    server = grpc.aio.server()
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    tokens.append("new")
    with pytest.raises(EngineError, match="refused the call"):
        await link.call("Ping", Empty(), 5.0)
    await link.close()
    await server.stop(0)
