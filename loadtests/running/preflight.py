"""Before any load: is the target one that we may put load on, is it there, and has it what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import httpx

from loadtests.bearer import bearer
from loadtests.loopback import ElsewhereError, check_loopback
from loadtests.running.wish import Wish
from loadtests.stack import Target
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

TIMEOUT_S: Final = 5.0
_GRPC_PORT, _METRICS_PORT = 8001, 8002
DEFAULT: Final = Target(
    http="http://127.0.0.1:8000",
    grpc=f"127.0.0.1:{_GRPC_PORT}",
    metrics=f"http://127.0.0.1:{_METRICS_PORT}/metrics",
)
_SERVER: Final = "attnserve"
_METRIC: Final = "attnserve_requests_total"
_REFUSED: Final = (401, 403)
# Attribute of a target -> the option that gives it.
_OPTIONS: Final = {"http": "--host", "grpc": "--grpc", "metrics": "--metrics"}


class PreflightError(Exception):
    """There is no putting load on it; the message names the option and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a gateway can be asked for.

    Attributes:
        models: Name of each model, without its versions -> why it cannot answer; "" when it can.
        others: Aliases and experiments, likewise.
    """

    models: Mapping[str, str]
    others: Mapping[str, str]

    def choose(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those that are wanted, or every model that is ready.

        Raises:
            PreflightError: One is not there or not ready, or there is none.
        """
        ready = [name for name, reason in self.models.items() if not reason]
        known = {**self.models, **self.others}
        for name in wanted:
            if name not in known:
                raise PreflightError(f"--models: {name!r} is not loaded; ready are {_listed(ready)}")
            if known[name]:
                raise PreflightError(f"--models: {name!r} is not ready ({known[name]}); {_listed(ready)} are")
        if not wanted and not ready:
            raise PreflightError("--models: none is ready; `attnserve models` says why")
        return tuple(wanted or ready)


def target_of(wish: Wish) -> Target:
    """The addresses that were given; of those that were not, the default ports of --host's, or of loopback.

    Raises:
        PreflightError: One is no address, or not loopback's, and --remote does not allow that.
    """
    http = (wish.host or DEFAULT.http).rstrip("/")
    host = _host("--host", http, http)
    name = f"[{host}]" if ":" in host else host
    target = Target(
        http=http,
        grpc=wish.grpc or f"{name}:{_GRPC_PORT}",
        metrics=wish.metrics or f"http://{name}:{_METRICS_PORT}/metrics",
    )
    for door, option in _OPTIONS.items():
        address = getattr(target, door)
        host = _host(option, address if door != "grpc" else f"//{address}", address)
        if not wish.remote:
            _check_loopback(option, host)
    return target


def is_given(wish: Wish) -> bool:
    """Whether a gateway was named, so that none of our own takes its place."""
    return bool(wish.host or wish.grpc or wish.metrics)


def check_target(target: Target, token: str) -> Listed:
    """Ask a gateway at each of its three doors who it is, and what it has.

    Raises:
        PreflightError: One does not answer, or not as an attnserve does; or the token is refused.
    """
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=bearer(token)) as client:
        _check_rest(client, target)
        index = _rest(client, "POST", f"{target.http}/v2/repository/index").json()
        page = _rest(client, "GET", target.metrics, "--metrics").text
    if _METRIC not in page:
        raise PreflightError(f"--metrics: {target.metrics} is no metrics page of an attnserve: no {_METRIC}")
    _check_grpc(target.grpc, token)
    return _listing(index)


def _host(option: str, url: str, address: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if option == "--grpc":
        if not host or port is None:
            raise PreflightError(f"--grpc: {address!r} is no HOST:PORT")
    elif not host or parts.scheme != "http":
        raise PreflightError(f"{option}: {address!r} is no http://HOST:PORT; TLS is not spoken here")
    return str(host)


def _check_loopback(option: str, host: str) -> None:
    try:
        check_loopback(host)
    except ElsewhereError as error:
        raise PreflightError(f"{option}: {error}") from None


def _check_rest(client: httpx.Client, target: Target) -> None:
    document = _rest(client, "GET", f"{target.http}/v2")
    try:
        name = document.json()["name"]
    except (ValueError, KeyError, TypeError):
        name = None
    if name != _SERVER:
        raise PreflightError(f"--host: {target.http} answers, but is no attnserve")


def _rest(client: httpx.Client, method: str, url: str, option: str = "--host") -> httpx.Response:
    try:
        response = client.request(method, url)
    except httpx.HTTPError as error:
        raise PreflightError(
            f"{option}: no answer from {url}: {str(error) or type(error).__name__}"
        ) from None
    if response.status_code in _REFUSED:
        raise PreflightError(f"--token: {url} refuses it: {response.text.strip()}")
    if not response.is_success:
        raise PreflightError(f"{option}: {url} answers {response.status_code}; is it an attnserve?")
    return response


def _check_grpc(address: str, token: str) -> None:
    metadata = list(bearer(token).items())
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        try:
            name = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=TIMEOUT_S, metadata=metadata).name
        except grpc.RpcError as error:
            raise PreflightError(f"--grpc: no answer from {address}: {error.details()}") from None
    if name != _SERVER:
        raise PreflightError(f"--grpc: {address} answers, but is no attnserve")


def _listing(index: Sequence[Mapping[str, Any]]) -> Listed:
    models: dict[str, str] = {}
    others: dict[str, str] = {}
    for entry in index:
        kept = models if entry["version"] else others
        reason = "" if entry["state"] == "READY" else entry["reason"] or "no reason given"
        kept[entry["name"]] = reason and kept.get(entry["name"], reason)  # one ready version is enough
    return Listed(models=models, others=others)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
