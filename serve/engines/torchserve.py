"""A TorchServe as an engine: batches go through its inference port, archives through its management port.

TorchServe forgets some requests without ever answering (those queued while a model is unregistered, say),
so every call has a deadline.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import grpc

from serve.archive import ref_of_store_name
from serve.core import wire
from serve.core.card import CardError, ModelCard, parse_card
from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.engines.predictions import predictions_request
from serve.engines.torchserve_link import ChannelOptions, Link
from serve.pb.torchserve_inference_pb2 import DESCRIPTOR, PredictionResponse
from serve.pb.torchserve_management_pb2 import (
    DescribeModelRequest,
    RegisterModelRequest,
    SetDefaultRequest,
    UnregisterModelRequest,
)
from serve.pb.torchserve_management_pb2_grpc import ManagementAPIsServiceStub

_CLEAN_UP_TIMEOUT_S = 10.0
_LOG_LOOKS = 5
_LOG_PAUSE_S = 0.1


class _InferenceStub:
    """The one method of the inference port that is called, for requests that are bytes already."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        service = DESCRIPTOR.services_by_name["InferenceAPIsService"].full_name
        self.Predictions: grpc.aio.UnaryUnaryMultiCallable[bytes, PredictionResponse] = channel.unary_unary(
            f"/{service}/Predictions", response_deserializer=PredictionResponse.FromString
        )


class TorchServeEngine:
    """Runs batches on one TorchServe, local or remote; implements `Engine`."""

    def __init__(
        self,
        name: str,
        target: str | Callable[[], str],
        token: Callable[[], str] | None = None,
        options: ChannelOptions | None = None,
    ) -> None:
        """Connect when first used.

        Args:
            name: Label in metrics and logs.
            target: host:port of the inference port; a function where it changes with restarts.
            token: Gives the inference token; None where TorchServe asks for none.
            options: How to talk.
        """
        self._link = Link(name, _InferenceStub, _as_function(target), token, options or ChannelOptions())

    @property
    def name(self) -> str:
        """Label of this engine in metrics and logs."""
        return self._link.name

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Run one batch; see `Engine`."""
        reply = await self._ask(ref, wire.pack(batch), timeout_s)
        if not isinstance(reply, BatchReply) or reply.count != batch.count:
            raise self._link.error("garbled", retryable=True, more=f"it is not for {batch.count} images")
        missing = batch.outputs - reply.outputs.keys()
        if missing:
            raise self._link.error("garbled", retryable=True, more=f"it has no {', '.join(sorted(missing))}")
        return reply

    async def describe(self, ref: ModelRef, timeout_s: float) -> ModelCard:
        """Ask for the card of a model; see `Engine`."""
        reply = await self._ask(ref, wire.DESCRIBE_REQUEST, timeout_s)
        if not isinstance(reply, wire.Description):
            raise self._link.error("garbled", retryable=True, more="it is no description")
        try:
            card = parse_card(reply.signature, contents_sha256=reply.contents_sha256)
        except CardError as error:
            raise self._link.error("garbled", retryable=False, more=error.message) from error
        return replace(card, recipe=reply.recipe, recipe_reasons=reply.recipe_reasons, decoder=reply.decoder)

    async def close(self, grace_s: float = 0.0) -> None:
        """Hang up, after calls that run; see `Engine`."""
        await self._link.close(grace_s)

    async def _ask(
        self, ref: ModelRef, packed: Mapping[str, bytes], timeout_s: float
    ) -> BatchReply | wire.Description:
        response = await self._link.call("Predictions", predictions_request(ref, packed), timeout_s)
        try:
            return wire.unpack(response.prediction)
        except wire.RefusedBatchError as error:
            raise self._link.error("refused", retryable=False, more=error.message) from error
        except wire.WireError as error:
            raise self._link.error("garbled", retryable=True, more=error.message) from error


class TorchServeControl:
    """Loads and unloads archives on a TorchServe that we manage; implements `ModelControl`."""

    def __init__(
        self,
        name: str,
        target: str | Callable[[], str],
        token: Callable[[], str] | None = None,
        log: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Connect when first used.

        Args:
            name: The engine's name, for messages.
            target: host:port of the management port; a function where it changes with restarts.
            token: Gives the management token.
            log: Gives the last lines of TorchServe's log, where it can be read: a failed load is explained
                only there.
        """
        self._link = Link(name, ManagementAPIsServiceStub, _as_function(target), token, ChannelOptions())
        self._log = log

    async def load(self, archive: str, timeout_s: float) -> None:
        """Register NAME-VERSION.mar from the store, and wait until a worker is ready; see `ModelControl`."""
        request = RegisterModelRequest(url=archive, batch_size=1, initial_workers=1, synchronous=True)
        try:
            await self._link.call("RegisterModel", request, timeout_s)
        except EngineError as error:
            ref = ref_of_store_name(archive)
            if _is_conflict(error):
                raise EngineError(f"{ref} is loaded already", reason="refused", retryable=False) from error
            await self._forget(ref, _CLEAN_UP_TIMEOUT_S)
            slow = error.reason == "timeout"
            why = f"not ready after {timeout_s:g} s" if slow else await self._explain(ref) or _details(error)
            raise EngineError(
                f"{ref} cannot be loaded: {why}", reason=error.reason, retryable=False
            ) from error

    async def unload(self, ref: ModelRef, timeout_s: float) -> None:
        """Forget a version; see `ModelControl`."""
        await self._forget(ref, timeout_s)

    async def close(self) -> None:
        """Hang up; calls still running fail with `EngineError`."""
        await self._link.close()

    async def _forget(self, ref: ModelRef, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._make_another_default(ref, timeout_s)
                request = UnregisterModelRequest(model_name=ref.name, model_version=ref.version)
                await self._link.call("UnregisterModel", request, timeout_s)
        except TimeoutError:
            raise self._link.error("timeout", retryable=True) from None
        except EngineError as error:
            if error.reason != "missing":
                raise

    async def _make_another_default(self, ref: ModelRef, timeout_s: float) -> None:
        """TorchServe does not unregister the default version while there are others."""
        request = DescribeModelRequest(model_name=ref.name, model_version="all")
        response = await self._link.call("DescribeModel", request, timeout_s)
        versions = {entry["modelVersion"] for entry in json.loads(response.msg)} - {ref.version}
        if versions:
            highest = max(versions, key=lambda version: (len(version), version))
            default = SetDefaultRequest(model_name=ref.name, model_version=highest)
            await self._link.call("SetDefault", default, timeout_s)

    async def _explain(self, ref: ModelRef) -> str:
        """The worker's own words, which may reach the log a moment after TorchServe's answer reaches us."""
        for _ in range(_LOG_LOOKS):
            why = load_failure(await asyncio.to_thread(self._log), ref)
            if why:
                return why
            await asyncio.sleep(_LOG_PAUSE_S)
        return ""


def load_failure(log: Sequence[str], ref: ModelRef) -> str:
    """Why a worker failed to load a model, out of TorchServe's log; "" when the log does not say.

    A RuntimeError is logged by TorchServe in one line and then buried under another one; everything else
    ends in a traceback, the last line of which names it.
    """
    worker = f"-{ref.name}_{ref.version}-std"
    said = [line.partition("] ")[2] for line in log if worker in line]
    for pattern in (r"Failed to load model \S+, exception (.+)", r"((?!model_name: )[A-Za-z_][\w.]*: .+)"):
        matches = [match.group(1) for line in said if (match := re.fullmatch(pattern, line))]
        if matches:
            return matches[-1]
    return ""


def _as_function(target: str | Callable[[], str]) -> Callable[[], str]:
    return (lambda: target) if isinstance(target, str) else target


def _is_conflict(error: EngineError) -> bool:
    """Whether registration failed because the version is there; TorchServe says so only by a bare UNKNOWN."""
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.UNKNOWN


def _details(error: EngineError) -> str:
    """TorchServe's own message without the name of the Java class under it."""
    cause = error.__cause__
    details = cause.details() if isinstance(cause, grpc.RpcError) else None
    return details.splitlines()[0] if details else error.message
