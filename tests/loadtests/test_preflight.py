"""What is refused before any load."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest

from loadtests.running.preflight import DEFAULT, Listed, PreflightError, check_target, is_given, target_of
from loadtests.running.wish import Wish
from loadtests.stack import Target
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

METRICS = "# TYPE attnserve_requests counter\nattnserve_requests_total 0\n"
INDEX = [
    {"name": "se", "version": "1", "state": "UNAVAILABLE", "reason": "replaced"},
    {"name": "se", "version": "2", "state": "READY", "reason": ""},
    {"name": "eca", "version": "1", "state": "UNAVAILABLE", "reason": "its engine is gone"},
    {"name": "newest", "version": "", "state": "READY", "reason": ""},
]
GATEWAY: Mapping[str, tuple[int, Any]] = {
    "/v2": (200, {"name": "attnserve"}),
    "/v2/repository/index": (200, INDEX),
    "/metrics": (200, METRICS),
}


@contextmanager
def serving(answers: Mapping[str, tuple[int, Any]]) -> Iterator[str]:
    """A web server that gives these answers (a status, and text or JSON), and 404 to all else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers.get(self.path, (404, "not found"))
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the library's name

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def speaking_grpc(name: str) -> Iterator[str]:
    """A gRPC server of that name."""

    class Servicer(GRPCInferenceServiceServicer):
        def ServerMetadata(self, request: object, context: object) -> pb.ServerMetadataResponse:  # noqa: ARG002, N802  the protocol's
            return pb.ServerMetadataResponse(name=name)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


def closed_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(answers: Mapping[str, tuple[int, Any]], name: str = "attnserve") -> Listed:
    """What is found where a gateway would answer so."""
    with serving(answers) as url, speaking_grpc(name) as address:
        return check_target(Target(http=url, grpc=address, metrics=f"{url}/metrics"), token="")


def test_a_gateway_tells_what_it_has() -> None:
    """A model can be asked when one of its versions can; aliases and experiments are no models."""
    listed = check(GATEWAY)
    assert listed == Listed(models={"se": "", "eca": "its engine is gone"}, others={"newest": ""})
    assert listed.choose(()) == ("se",)
    assert listed.choose(("newest", "se")) == ("newest", "se")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "--host: http://.*/v2 answers 404; is it an attnserve"),
        ({"/v2": (200, {"name": "triton"})}, "--host: .* answers, but is no attnserve"),
        ({"/v2": (200, "<html>")}, "--host: .* answers, but is no attnserve"),
        ({"/v2": (200, [])}, "--host: .* answers, but is no attnserve"),
        ({"/v2": (401, "expected 'Bearer TOKEN'")}, "--token: .* refuses it: expected 'Bearer TOKEN'"),
        ({**GATEWAY, "/metrics": (404, "")}, "--metrics: .*/metrics answers 404"),
        ({**GATEWAY, "/metrics": (200, "up 1\n")}, "--metrics: .* is no metrics page of an attnserve"),
    ],
)
def test_what_is_no_gateway_is_refused(answers: Mapping[str, tuple[int, Any]], message: str) -> None:
    """The message names the option that leads there."""
    with pytest.raises(PreflightError, match=message):
        check(answers)


def test_another_grpc_server_is_refused() -> None:
    """Though its REST door is a gateway's."""
    with pytest.raises(PreflightError, match=r"--grpc: .* answers, but is no attnserve"):
        check(GATEWAY, name="triton")


def test_doors_at_which_nobody_answers_are_refused() -> None:
    """REST, metrics and gRPC, each by its option."""
    nobody = f"127.0.0.1:{closed_port()}"
    with pytest.raises(PreflightError, match=f"--host: no answer from http://{nobody}/v2: .*refused"):
        check_target(Target(http=f"http://{nobody}", grpc=nobody, metrics=f"http://{nobody}"), token="")
    with serving(GATEWAY) as url:
        with pytest.raises(PreflightError, match=f"--metrics: no answer from http://{nobody}"):
            check_target(Target(http=url, grpc=nobody, metrics=f"http://{nobody}/metrics"), token="")
        with pytest.raises(PreflightError, match=f"--grpc: no answer from {nobody}: "):
            check_target(Target(http=url, grpc=nobody, metrics=f"{url}/metrics"), token="")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("resnet", "--models: 'resnet' is not loaded; ready are se"),
        ("eca", r"--models: 'eca' is not ready \(its engine is gone\); se are"),
    ],
)
def test_a_model_that_cannot_answer_is_refused(wanted: str, message: str) -> None:
    """The message names those that can."""
    with pytest.raises(PreflightError, match=message):
        Listed(models={"se": "", "eca": "its engine is gone"}, others={}).choose([wanted])


def test_a_gateway_without_a_model_that_is_ready_is_refused() -> None:
    """There is nobody to ask."""
    with pytest.raises(PreflightError, match="--models: none is ready"):
        Listed(models={"eca": "loading"}, others={}).choose([])


@pytest.mark.parametrize(
    "wish",
    [
        Wish(host="http://192.0.2.1:8000"),
        Wish(grpc="192.0.2.1:8001"),
        Wish(metrics="http://192.0.2.1:8002/metrics"),
        Wish(host="http://[2001:db8::1]:8000"),
        Wish(host="http://0.0.0.0:8000"),
    ],
)
def test_another_machine_needs_an_explicit_flag(wish: Wish) -> None:
    """By any of the three addresses; with --remote each is taken as it is."""
    with pytest.raises(PreflightError, match=r"--(host|grpc|metrics): .* is not on this machine's loopback"):
        target_of(wish)
    allowed = Wish(host=wish.host, grpc=wish.grpc, metrics=wish.metrics, remote=True)
    assert is_given(allowed)
    assert target_of(allowed) != DEFAULT


def test_a_name_is_judged_by_every_address_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is loopback's and another's may lead to the other."""
    found = [(socket.AF_INET, 0, 0, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    with pytest.raises(PreflightError, match=r"--host: both .*\(192.0.2.7\)"):
        target_of(Wish(host="http://both:8000"))


def test_a_name_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no loopback."""

    def unknown(*_: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(PreflightError, match="--host: 'nowhere' has no address: Name or service not known"):
        target_of(Wish(host="http://nowhere"))


def test_loopback_needs_no_flag() -> None:
    """By number or by name."""
    assert target_of(Wish()) == DEFAULT
    assert not is_given(Wish())
    assert target_of(Wish(host="http://localhost:1234/")).http == "http://localhost:1234"
    assert target_of(Wish(grpc="[::1]:8001")).grpc == "[::1]:8001"


def test_what_is_not_given_is_beside_the_host() -> None:
    """Its own default ports, so that nobody counts what another gateway was asked."""
    found = target_of(Wish(host="http://[::1]:8000"))
    assert (found.grpc, found.metrics) == ("[::1]:8001", "http://[::1]:8002/metrics")


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(host="127.0.0.1:8000"), "--host: '127.0.0.1:8000' is no http://HOST:PORT"),
        (Wish(host="https://127.0.0.1:8000"), "--host: .* TLS is not spoken here"),
        (Wish(host="http://127.0.0.1:port"), "--host: .* is no http"),
        (Wish(metrics="/metrics"), "--metrics: '/metrics' is no http"),
        (Wish(grpc="127.0.0.1"), "--grpc: '127.0.0.1' is no HOST:PORT"),
        (Wish(grpc="http://127.0.0.1:8001"), "--grpc: .* is no HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused(wish: Wish, message: str) -> None:
    """The message names the option and shows what was given."""
    with pytest.raises(PreflightError, match=message):
        target_of(wish)
