"""A small client of the gateway for our own commands: the same question over gRPC or REST.

Any client of the Open Inference Protocol works as well; this one asks for partial answers, so that
one unreadable file does not hide what the others are.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import quote

import grpc
import httpx

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc

MAX_MESSAGE_BYTES = 2**31 - 1


class ClientError(Exception):
    """The gateway could not be asked, or refused the whole request; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a model says of one image.

    Attributes:
        label: The most probable class; "" when the image failed.
        probability: Of that class.
        error: Why there is no answer; "" when there is one.
    """

    label: str = ""
    probability: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One verdict an image, in order, and how long the call took in seconds."""

    model: str
    version: str
    verdicts: tuple[Verdict, ...]
    seconds: float


class Client(Protocol):
    """What both protocols offer."""

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """Ask a model what some encoded images show.

        Raises:
            ClientError: The whole request failed.
        """
        ...

    async def index(self) -> list[dict[str, str]]:
        """Every version that is known: name, version, state, reason; raises as `classify`."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


class GrpcClient:
    """Over gRPC."""

    def __init__(self, target: str, token: str = "", timeout_s: float = 30.0) -> None:
        """Connect lazily to host:port."""
        size = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(target, options=size)
        self._stub = pb_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout_s = timeout_s

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """See `Client`."""
        request = pb.ModelInferRequest(model_name=model, raw_input_contents=[_length_prefixed(images)])
        request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
        request.outputs.add(name="probabilities")
        request.outputs.add(name="label")
        request.parameters["partial"].bool_param = True
        started = time.perf_counter()
        response = await self._call(self._stub.ModelInfer, request)
        seconds = time.perf_counter() - started
        found = dict(
            zip((output.name for output in response.outputs), response.raw_output_contents, strict=True)
        )
        errors = json.loads(response.parameters["errors"].string_param or "{}")
        floats = struct.unpack(f"<{len(found['probabilities']) // 4}f", found["probabilities"])
        labels = _split_prefixed(found["label"])
        verdicts = _verdicts(labels, floats, errors)
        return Reply(
            model=response.model_name, version=response.model_version, verdicts=verdicts, seconds=seconds
        )

    async def index(self) -> list[dict[str, str]]:
        """See `Client`."""
        response = await self._call(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())
        fields = ("name", "version", "state", "reason")
        return [{field: getattr(model, field) for field in fields} for model in response.models]

    async def close(self) -> None:
        """See `Client`."""
        await self._channel.close()

    async def _call(self, method: Any, request: Any) -> Any:  # noqa: ANN401  generated stubs are untyped
        try:
            return await method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise ClientError(f"{error.code().name}: {error.details()}") from None


class RestClient:
    """Over REST, with the images as binary tensor data."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 30.0) -> None:
        """Connect lazily to http://host:port."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, headers=headers, trust_env=False)

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """See `Client`."""
        body = _length_prefixed(images)
        tensor = {"name": "image", "shape": [len(images)], "datatype": "BYTES"}
        header = json.dumps(
            {
                "inputs": [{**tensor, "parameters": {"binary_data_size": len(body)}}],
                "outputs": [{"name": "probabilities"}, {"name": "label"}],
                "parameters": {"partial": True},
            }
        ).encode()
        headers = {
            "Inference-Header-Content-Length": str(len(header)),
            "Content-Type": "application/octet-stream",
        }
        started = time.perf_counter()
        reply = await self._post(f"/v2/models/{quote(model, safe='')}/infer", header + body, headers)
        seconds = time.perf_counter() - started
        outputs = {output["name"]: output["data"] for output in reply["outputs"]}
        errors = json.loads(reply.get("parameters", {}).get("errors", "{}"))
        floats = [float("nan") if value is None else value for value in outputs["probabilities"]]
        verdicts = _verdicts(outputs["label"], floats, errors)
        return Reply(
            model=reply["model_name"], version=reply["model_version"], verdicts=verdicts, seconds=seconds
        )

    async def index(self) -> list[dict[str, str]]:
        """See `Client`."""
        found: list[dict[str, str]] = await self._post(
            "/v2/repository/index", b"{}", {"Content-Type": "application/json"}
        )
        return found

    async def close(self) -> None:
        """See `Client`."""
        await self._http.aclose()

    async def _post(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON
        try:
            response = await self._http.post(path, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise ClientError(f"{self._http.base_url}: {str(error) or type(error).__name__}") from None
        if not response.is_success:
            raise ClientError(f"{response.status_code}: {_public_error(response)}")
        return response.json()


async def ready_models(client: Client) -> tuple[str, ...]:
    """Names of the models that can answer, each once.

    Raises:
        ClientError: The gateway cannot be reached.
    """
    return tuple(dict.fromkeys(entry["name"] for entry in await client.index() if entry["state"] == "READY"))


def connect(url: str, token: str = "", timeout_s: float = 30.0) -> Client:
    """A client for grpc://host:port or http://host:port.

    Raises:
        ClientError: The address has another form.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "grpc" and rest:
        return GrpcClient(rest, token, timeout_s)
    if scheme in ("http", "https") and rest:
        return RestClient(url, token, timeout_s)
    raise ClientError(f"url {url!r}: expected grpc://host:port or http://host:port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many images go in one call, and how many calls at once."""

    images_per_call: int = 8
    calls: int = 8


class Crowd:
    """Many images through one client, in the order given, some calls at once."""

    def __init__(self, client: Client, pace: Pace) -> None:
        """Use an open client."""
        self._client = client
        self._pace = pace
        self._room = asyncio.Semaphore(pace.calls)

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self._client.close()

    async def classify(self, model: str, images: Sequence[bytes]) -> AsyncIterator[Reply]:
        """Yield a reply a call; a call that failed as a whole is a reply of failed verdicts."""
        size = self._pace.images_per_call
        runs = [images[start : start + size] for start in range(0, len(images), size)]
        tasks = [asyncio.create_task(self._one(model, run)) for run in runs]
        for task in tasks:
            yield await task

    async def _one(self, model: str, run: Sequence[bytes]) -> Reply:
        async with self._room:
            try:
                return await self._client.classify(model, run)
            except ClientError as error:
                verdicts = (Verdict(error=str(error)),) * len(run)
                return Reply(model=model, version="", verdicts=verdicts, seconds=0.0)


def _length_prefixed(images: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def _split_prefixed(data: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        texts.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return texts


def _verdicts(
    labels: Sequence[str], floats: Sequence[float], errors: Mapping[str, str]
) -> tuple[Verdict, ...]:
    columns = len(floats) // max(1, len(labels))
    rows = [floats[start : start + columns] for start in range(0, len(floats), columns)]
    return tuple(
        Verdict(error=errors[str(i)]) if str(i) in errors else Verdict(label=label, probability=max(row))
        for i, (label, row) in enumerate(zip(labels, rows, strict=True))
    )


def _public_error(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
