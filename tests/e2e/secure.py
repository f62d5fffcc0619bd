"""A gateway with certificates and no engine that answers: it starts in a moment, and has all its doors."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.processes import free_ports, wait_until
from tests.e2e.stacks import Stack, series_name, started
from tests.pki import Authority, Pair, serial

MODEL = "digits_se"
PATIENCE_S = 30.0
SUCCESS = "attnserve_config_reload_success"

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Secure:
    """A running one, the files that it looks at, and how it is called."""

    stack: Stack
    folder: Path
    authority: Authority

    @property
    def http_door(self) -> tuple[str, int]:
        """Host and port of REST."""
        parts = urlsplit(self.stack.addresses["http"])
        return str(parts.hostname), int(parts.port or 0)

    @property
    def grpc_door(self) -> tuple[str, int]:
        """Host and port of gRPC."""
        host, _, port = self.stack.addresses["grpc"].partition(":")
        return host, int(port)

    def write(self, name: str, content: bytes) -> None:
        """Change one of the files in one go."""
        new = self.folder / "new"
        new.write_bytes(content)
        new.rename(self.folder / name)

    def show(self, pair: Pair) -> None:
        """Change certificate and key."""
        self.write("key.pem", pair.key)
        self.write("certificate.pem", pair.certificate)

    def context(self, pair: Pair | None = None, trusts: Authority | None = None) -> ssl.SSLContext:
        """Of a caller that shows a certificate, or none."""
        context = ssl.create_default_context(cadata=(trusts or self.authority).pem.decode())
        if pair:
            (self.folder / "caller.pem").write_bytes(pair.certificate + pair.key)
            context.load_cert_chain(self.folder / "caller.pem")
        return context

    @contextmanager
    def rest(self, pair: Pair | None = None, trusts: Authority | None = None) -> Iterator[HTTPSConnection]:
        """A connection of its own to REST."""
        context = self.context(pair, trusts)
        with closing(HTTPSConnection(*self.http_door, context=context, timeout=20)) as connection:
            yield connection

    @contextmanager
    def channel(self, pair: Pair | None = None, trusts: Authority | None = None) -> Iterator[grpc.Channel]:
        """A connection of its own to gRPC."""
        shown = (pair.key, pair.certificate) if pair else (None, None)
        credentials = grpc.ssl_channel_credentials((trusts or self.authority).pem, *shown)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(self.stack.addresses["grpc"], credentials, options=options) as channel:
            yield channel

    def shown(self, door: tuple[str, int]) -> int:
        """The serial number of the certificate that a new connection is shown."""
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(door, timeout=20)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            der = sock.getpeercert(binary_form=True)
        assert der is not None
        return serial(der, der=True)

    def success(self, what: str) -> float:
        """The gauge that falls when a new version cannot be used."""
        return self.stack.series()[series_name(SUCCESS, what=what)]

    def wait_for(self, what: str, success: float) -> None:
        """Wait until the gauge shows it."""
        wait_until(lambda: self.success(what) == success, PATIENCE_S, f"{what} {success}")


@contextmanager
def secured(
    folder: Path, authority: Authority, settings: Mapping[str, Any], *options: str
) -> Iterator[Secure]:
    """Start one with certificate.pem and key.pem in the folder, and more settings; it must drain well."""
    tls = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    (port,) = free_ports(1)
    config = {"engines": [{"address": f"127.0.0.1:{port}", "models": [MODEL]}]} | dict(settings)
    config["tls"] = tls | config.get("tls", {})
    pair = authority.server()
    (folder / "certificate.pem").write_bytes(pair.certificate)
    (folder / "key.pem").write_bytes(pair.key)
    (folder / "gateway.yaml").write_text(json.dumps(config))  # JSON is YAML
    with started({}, "--config", str(folder / "gateway.yaml"), *options) as stack:
        wait_until(lambda: stack.events("listening") != [], PATIENCE_S, f"it listens:\n{stack.log()}")
        yield Secure(stack=stack, folder=folder, authority=authority)
        assert stack.end() == 0, stack.log()


def status(connection: HTTPSConnection, path: str, token: str = "", verb: str = "GET") -> tuple[int, Any]:
    """Ask over an open connection; gives the status and what the answer says."""
    connection.request(verb, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def code(channel: grpc.Channel, token: str = "", method: str = "ServerMetadata") -> tuple[str, str]:
    """Ask over an open channel; gives the code and what the answer says."""
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        getattr(stub, method)(getattr(pb, f"{method}Request")(), timeout=20, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name, str(error.details())
    return "OK", ""
