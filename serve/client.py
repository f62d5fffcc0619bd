"""A small client of the gateway for our own commands: the same questions over gRPC or REST.

Any client of the Open Inference Protocol works as well; this one asks for partial answers, so that
one unreadable file does not hide what the others are.
"""

from __future__ import annotations

import json
import ssl
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import grpc
import httpx

from serve.core.byte_strings import joined, split
from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc

TIMEOUT_S = 60.0
OUTPUTS = ("probabilities", "label")
SCHEMES = ("grpc", "grpcs", "http", "https")


class ClientError(Exception):
    """The gateway refused a call as a whole; the message is its own."""


class UnreachableError(ClientError):
    """The gateway does not answer at that address, or not at this time."""


class AddressError(ClientError):
    """The address is written in a form that cannot be one, or what goes with it cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files for grpcs:// and https://.

    Attributes:
        ca: Authorities, or the gateway's own certificate; None: those that the libraries come with.
        certificate: What to show when the gateway asks for a certificate, with its chain.
        key: Of that certificate; None: it is in the same file.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a model says of one image.

    Attributes:
        label: The most probable class; "" when the image failed.
        probability: Of that class, 0..1.
        error: Why there is no answer; "" when there is one.
    """

    label: str = ""
    probability: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One verdict an image, in order, and how long the call took."""

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

    async def properties(self, model: str, version: str) -> Mapping[str, str]:
        """What else the metadata of a version tells; raises as `classify`."""
        ...


@asynccontextmanager
async def connected(url: str, token: str = "", tls: TlsFiles | None = None) -> AsyncIterator[Client]:
    """A client for as long as the context lasts; it connects with its first call.

    Args:
        url: grpc://host:port or http://host:port, and with TLS grpcs:// or https://.
        token: Bearer token; "" sends none.
        tls: Whom to trust, and what to show; None: whom the libraries trust, and nothing.

    Raises:
        AddressError: The address has another form, or a file or the token cannot be used.
    """
    check_address(url, token)
    scheme, _, target = url.partition("://")
    files = tls or TlsFiles()
    if scheme in ("grpc", "grpcs") and target:
        async with _channel(target, files if scheme == "grpcs" else None) as channel:
            yield GrpcClient(channel, url, token)
    elif scheme in ("http", "https") and target:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, headers=headers, trust_env=False, verify=tls_context(files)
        ) as http:
            yield RestClient(http, url)
    else:
        raise AddressError(f"url is {url!r}, expected {' or '.join(f'{one}://host:port' for one in SCHEMES)}")


def check_address(url: str, token: str) -> None:
    """See that an address and a token can be sent as they are.

    Raises:
        AddressError: One cannot; the token is not shown.
    """
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise AddressError(f"url is {url!r}: {error}") from None
    if not (token.isascii() and token.isprintable()):
        raise AddressError("token: holds characters that none has; was it copied whole, and nothing else?")


def _channel(target: str, tls: TlsFiles | None) -> grpc.aio.Channel:
    # The lengths are the server's to limit.
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    tls_context(tls)  # says what is wrong with a file; gRPC would say that the gateway cannot be reached
    ca, certificate = (file.read_bytes() if file else None for file in (tls.ca, tls.certificate))
    key = tls.key.read_bytes() if tls.key else certificate
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(target, credentials, options=options)


def tls_context(tls: TlsFiles) -> ssl.SSLContext:
    """Whom to trust and what to show.

    Raises:
        AddressError: A file cannot be used.
    """
    if tls.key and not tls.certificate:
        raise AddressError(f"key {str(tls.key)!r} needs a certificate")
    context = httpx.create_ssl_context(trust_env=False)
    try:
        if tls.ca:
            context = ssl.create_default_context(cafile=tls.ca)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be the gateway's own certificate
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # SSLError is one
        shown = [str(file) for file in (tls.ca, tls.certificate, tls.key) if file]
        raise AddressError(f"TLS files {shown}: {error.strerror or error}") from None
    return context


class GrpcClient:
    """Over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, url: str, token: str) -> None:
        """Use an open channel; `url` is for messages."""
        self._stub = pb_grpc.GRPCInferenceServiceStub(channel)
        self._url = url
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """See `Client`."""
        request = pb.ModelInferRequest(model_name=model, raw_input_contents=[joined(images)])
        request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
        for name in OUTPUTS:
            request.outputs.add(name=name)
        request.parameters["partial"].bool_param = True
        started = time.perf_counter()
        response = await self._call(self._stub.ModelInfer, request)
        seconds = time.perf_counter() - started
        rows, labels = response.raw_output_contents[: len(OUTPUTS)]
        floats = struct.unpack(f"<{len(rows) // 4}f", rows)
        errors = response.parameters["errors"].string_param
        verdicts = _verdicts([label.decode() for label in split(labels)], floats, errors)
        return Reply(version=response.model_version, verdicts=verdicts, seconds=seconds)

    async def index(self) -> list[dict[str, str]]:
        """See `Client`."""
        response = await self._call(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())
        fields = ("name", "version", "state", "reason")
        return [{field: getattr(model, field) for field in fields} for model in response.models]

    async def properties(self, model: str, version: str) -> Mapping[str, str]:
        """See `Client`."""
        request = pb.ModelMetadataRequest(name=model, version=version)
        return dict((await self._call(self._stub.ModelMetadata, request)).properties)

    async def _call(self, method: Any, request: Any) -> Any:  # noqa: ANN401  generated stubs are untyped
        try:
            return await method(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            kind = UnreachableError if error.code() is grpc.StatusCode.UNAVAILABLE else ClientError
            raise kind(f"{self._url}: {error.code().name}: {error.details()}") from None


class RestClient:
    """Over REST, with the images as binary tensor data."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        """Use an open client; `url` is for messages."""
        self._http = http
        self._url = url

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """See `Client`."""
        body = joined(images)
        header = json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "shape": [len(images)],
                        "datatype": "BYTES",
                        "parameters": {"binary_data_size": len(body)},
                    }
                ],
                "outputs": [{"name": name} for name in OUTPUTS],
                "parameters": {"partial": True},
            }
        ).encode()
        headers = {"Inference-Header-Content-Length": str(len(header))}
        started = time.perf_counter()
        reply = await self._ask(
            "POST", f"/v2/models/{quote(model, safe='')}/infer", content=header + body, headers=headers
        )
        seconds = time.perf_counter() - started
        outputs = {output["name"]: output["data"] for output in reply["outputs"]}
        errors = reply.get("parameters", {}).get("errors", "")
        # A failed row is null in JSON, which has no NaN.
        floats = [value or 0.0 for value in outputs["probabilities"]]
        verdicts = _verdicts(outputs["label"], floats, errors)
        return Reply(version=reply["model_version"], verdicts=verdicts, seconds=seconds)

    async def index(self) -> list[dict[str, str]]:
        """See `Client`."""
        found: list[dict[str, str]] = await self._ask("POST", "/v2/repository/index", content=b"{}")
        return found

    async def properties(self, model: str, version: str) -> Mapping[str, str]:
        """See `Client`."""
        path = f"/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"
        found: Mapping[str, str] = (await self._ask("GET", path)).get("properties", {})
        return found

    async def _ask(self, method: str, path: str, **what: Any) -> Any:  # noqa: ANN401  httpx's options, JSON
        try:
            response = await self._http.request(method, path, **what)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._url}: {str(error) or type(error).__name__}") from None
        if not response.is_success:
            kind = (
                UnreachableError if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else ClientError
            )
            raise kind(f"{self._url}: {response.status_code}: {public_error(response)}")
        return response.json()


def _verdicts(labels: Sequence[str], floats: Sequence[float], errors: str) -> tuple[Verdict, ...]:
    """One verdict a label; `errors` is the reply's parameter: JSON, text by index."""
    reasons = json.loads(errors or "{}")
    columns = len(floats) // max(1, len(labels))
    rows = [floats[start : start + columns] for start in range(0, len(floats), columns or 1)]
    return tuple(
        Verdict(error=reasons[str(i)]) if str(i) in reasons else Verdict(label=label, probability=max(row))
        for i, (label, row) in enumerate(zip(labels, rows, strict=True))
    )


def public_error(response: httpx.Response) -> str:
    """What the gateway says of a call that it refused."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
