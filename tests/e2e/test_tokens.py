"""Tokens: who may ask, who may operate, and what stays open."""

from __future__ import annotations

import hashlib
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.processes import attnserve, free_ports, wait_until
from tests.e2e.stacks import Stack, StartStack, series_name, started
from tests.e2e.stock import StockTorchServe

MODEL = "digits_se"
UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, 401)
FORBIDDEN = (grpc.StatusCode.PERMISSION_DENIED, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A gateway with tokens, and the secrets by role."""

    stack: Stack
    secrets: dict[str, str]

    def headers(self, secret: str | None) -> dict[str, str]:
        """What carries a secret; None: nothing does."""
        return {} if secret is None else {"Authorization": f"Bearer {secret}"}

    def call(self, method: str, message: Any, secret: str | None) -> grpc.StatusCode:  # noqa: ANN401  any request
        """Call over gRPC and give the code."""
        stub = pb_grpc.GRPCInferenceServiceStub(self.stack.channel)
        metadata = tuple((name.lower(), value) for name, value in self.headers(secret).items())
        try:
            getattr(stub, method)(message, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


def make_token(role: str) -> tuple[str, dict[str, str]]:
    """What `attnserve token` prints: the secret, and the entry for the configuration."""
    printed = attnserve("token", f"{role}-bot", "--role", role).stdout
    secret, line = printed.splitlines()
    (entry,) = yaml.safe_load(line)
    return secret, entry


@pytest.fixture(scope="module")
def guarded(torchserve: StockTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A gateway that knows a token for each of two roles; one of them in a file of its own."""
    folder = tmp_path_factory.mktemp("config")
    secrets, entries = {}, {}
    for role in ("infer", "operate"):
        secrets[role], entries[role] = make_token(role)
    (folder / "tokens.yaml").write_text(yaml.safe_dump([entries["operate"]]))
    config = {
        "engines": [{"address": torchserve.target, "models": [MODEL]}],
        "tokens": [entries["infer"]],
        "tokens_file": str(folder / "tokens.yaml"),
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    with started({}, "--config", str(folder / "gateway.yaml")) as running:
        running.wait_ready()
        yield Guarded(stack=running, secrets=secrets)
        assert running.end() == 0
        log = running.log()
    assert not any(secret in log for secret in secrets.values()), "a secret is in the log"


@dataclass(frozen=True, slots=True)
class Asked:
    """The same call over both protocols."""

    method: str
    message: Any
    verb: str
    path: str


ASKED = (
    Asked("ModelInfer", pb.ModelInferRequest(model_name=MODEL), "POST", f"/v2/models/{MODEL}/infer"),
    Asked("ServerMetadata", pb.ServerMetadataRequest(), "GET", "/v2"),
    Asked("ModelMetadata", pb.ModelMetadataRequest(name=MODEL), "GET", f"/v2/models/{MODEL}"),
    Asked("ModelConfig", pb.ModelConfigRequest(name=MODEL), "GET", f"/v2/models/{MODEL}/config"),
    Asked("ModelStatistics", pb.ModelStatisticsRequest(), "GET", "/v2/models/stats"),
    Asked("RepositoryIndex", pb.RepositoryIndexRequest(), "POST", "/v2/repository/index"),
    Asked("RepositoryModelLoad", pb.RepositoryModelLoadRequest(), "POST", "/v2/repository/models/x/load"),
    Asked(
        "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(), "POST", "/v2/repository/models/x/unload"
    ),
)


@pytest.mark.parametrize("secret", [None, "guessed"], ids=["none", "unknown"])
@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.method)
def test_without_a_known_token(guarded: Guarded, secret: str | None, asked: Asked) -> None:
    """Everything that tells or changes something is UNAUTHENTICATED / 401."""
    response = guarded.stack.rest.request(asked.verb, asked.path, headers=guarded.headers(secret))
    assert (guarded.call(asked.method, asked.message, secret), response.status_code) == UNAUTHENTICATED
    assert response.json()["error"].startswith("authorization: ")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_role_that_does_not_reach_far_enough(guarded: Guarded) -> None:
    """To infer is not to operate: PERMISSION_DENIED / 403, and the message names both roles."""
    secret = guarded.secrets["infer"]
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{MODEL}/{verb}"
        message = getattr(pb, f"RepositoryModel{verb.title()}Request")(model_name=MODEL)
        response = guarded.stack.rest.post(path, headers=guarded.headers(secret))
        code = guarded.call(f"RepositoryModel{verb.title()}", message, secret)
        assert (code, response.status_code) == FORBIDDEN
        assert re.search("'infer-bot' has the role 'infer', this needs 'operate'", response.json()["error"])


def test_a_token_of_each_role_works(guarded: Guarded, demo: Demo) -> None:
    """Both may infer; the operator's call gets as far as the engines, which refuse it."""
    for secret in guarded.secrets.values():
        headers = guarded.headers(secret) | {
            "Inference-Header-Content-Length": "0",
            "Accept": "application/json",
        }
        response = guarded.stack.rest.post(
            f"/v2/models/{MODEL}/infer", content=demo.images[0], headers=headers
        )
        assert response.json()["outputs"][1]["data"] == [demo.labels[0]]
        assert (
            guarded.call("ModelMetadata", pb.ModelMetadataRequest(name=MODEL), secret) is grpc.StatusCode.OK
        )
    message = pb.RepositoryModelLoadRequest(model_name=MODEL)
    code = guarded.call("RepositoryModelLoad", message, guarded.secrets["operate"])
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_health_is_open(guarded: Guarded) -> None:
    """Probes carry no token."""
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}/ready"):
        assert guarded.stack.rest.get(path).status_code == 200
    for method, message in (
        ("ServerLive", pb.ServerLiveRequest()),
        ("ServerReady", pb.ServerReadyRequest()),
        ("ModelReady", pb.ModelReadyRequest(name=MODEL)),
    ):
        assert guarded.call(method, message, None) is grpc.StatusCode.OK
    assert guarded.stack.health("") == health_pb2.HealthCheckResponse.SERVING


def test_the_command_line_takes_a_token(guarded: Guarded, demo: Demo) -> None:
    """By ATTNSERVE_TOKEN or --token; without one it says what the gateway said."""
    url = f"grpc://{guarded.stack.addresses['grpc']}"
    image = min(demo.samples.iterdir())
    secret = guarded.secrets["infer"]
    command = ("classify", image, "--url", url, "--json")
    assert attnserve(*command, "--token", secret).returncode == 0
    assert attnserve(*command, ATTNSERVE_TOKEN=secret).returncode == 0
    refused = attnserve(*command)
    assert refused.returncode == 1
    assert "UNAUTHENTICATED: authorization" in refused.stderr


def test_open_to_all_only_by_name(start_stack: StartStack) -> None:
    """Binding beyond loopback without tokens is refused: exit code 2, and both ways out."""
    stack = start_stack(ready=False, host="0.0.0.0")  # noqa: S104  that is what is refused
    assert stack.process.wait(20) == 2
    for part in ("'0.0.0.0'", "attnserve token", "allow_unauthenticated"):
        assert part in stack.log()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """A gateway that looks at its tokens_file only when it is told; its configuration has a token, too."""

    guarded: Guarded
    file: Path

    def replace(self, content: bytes | Sequence[dict[str, str]]) -> dict[str, Any]:
        """Change the file and tell the gateway; gives its line about that."""
        before = len(self._lines())
        new = self.file.with_name("new")
        new.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
        new.rename(self.file)
        self.guarded.stack.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self._lines()) > before, 30, "it has looked")
        return self._lines()[-1]

    def success(self) -> float:
        """The gauge that falls when a new version cannot be used."""
        return self.guarded.stack.series()[series_name("attnserve_config_reload_success", what="tokens")]

    def works(self, secret: str) -> bool:
        """Whether both doors know a secret; over connections that were there before."""
        code = self.guarded.call("ServerMetadata", pb.ServerMetadataRequest(), secret)
        response = self.guarded.stack.rest.get("/v2", headers=self.guarded.headers(secret))
        assert (code, response.status_code) in ((grpc.StatusCode.OK, 200), UNAUTHENTICATED)
        return response.is_success

    def _lines(self) -> list[dict[str, Any]]:
        events = (self.guarded.stack.events(name) for name in ("reloaded", "reload failed"))
        ours = (line for lines in events for line in lines if line["what"] == "tokens")
        return sorted(ours, key=lambda line: str(line["timestamp"]))


def entry(name: str, secret: str, role: str = "infer") -> dict[str, str]:
    """A token as the file has it."""
    return {"name": name, "role": role, "sha256": hashlib.sha256(secret.encode()).hexdigest()}


FIRST = [entry("ci", "first")]


@pytest.fixture(scope="module")
def renewed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renewed]:
    """It runs; its engine does not."""
    folder = tmp_path_factory.mktemp("config")
    (port,) = free_ports(1)
    config = {
        "engines": [{"address": f"127.0.0.1:{port}", "models": [MODEL]}],
        "tokens": [entry("own", "own")],
        "tokens_file": str(folder / "tokens.yaml"),
        "reload_interval_s": 3600,
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    (folder / "tokens.yaml").write_text(yaml.safe_dump(FIRST))
    with started({}, "--config", str(folder / "gateway.yaml")) as running:
        wait_until(lambda: running.events("listening") != [], 30, "it listens")
        yield Renewed(guarded=Guarded(stack=running, secrets={}), file=folder / "tokens.yaml")
        assert running.end() == 0


@pytest.fixture
def renewed(renewed_once: Renewed) -> Renewed:
    """The same, with the token that it started with."""
    renewed_once.replace(FIRST)
    return renewed_once


def test_tokens_change_while_it_runs(renewed: Renewed) -> None:
    """The next request knows the new one and no longer the old; that of the configuration itself stays."""
    assert renewed.works("first")
    line = renewed.replace([entry("ci", "second")])
    assert (line["event"], line["now"]) == ("reloaded", "tokens of ci, own")
    assert [secret for secret in ("first", "second", "own") if renewed.works(secret)] == ["second", "own"]


def test_rotation_overlaps(renewed: Renewed) -> None:
    """Two secrets of one caller work at a time, until the old one is taken out."""
    renewed.replace([*FIRST, entry("ci", "second")])
    assert renewed.works("first")
    assert renewed.works("second")
    renewed.replace([entry("ci", "second")])
    assert not renewed.works("first")
    assert renewed.works("second")


BAD: dict[str, tuple[bytes | list[dict[str, str]], str]] = {
    "no YAML": (b"- {name: ci", "is not YAML"),
    "random bytes": (bytes(range(256)), "is not UTF-8"),
    "nested for ever": (b"[" * 3000, "nested too deeply"),
    "another kind": (b"name: ci", "expected a list"),
    "nothing": (b"", "at least 1 item"),
    "an empty list": (b"[]", "at least 1 item"),
    "a secret for its digest": ([{"name": "ci", "sha256": "hunter2"}], "tokens.0.sha256: "),
    "three of one name": ([entry("ci", secret) for secret in "abc"], "3 have the name 'ci', at most 2"),
    "two roles of one name": ([entry("ci", "a"), entry("ci", "b", "admin")], "must have the same role"),
    "one that is there": ([entry("me", "own")], "the sha256 of ['own', 'me'] are not all different"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_changes_nothing(renewed: Renewed, name: str) -> None:
    """The former tokens stay, nobody else comes in, a gauge and a line say so, and no secret is in it."""
    content, reason = BAD[name]
    line = renewed.replace(content)
    assert (line["event"], line["what"], line["level"]) == ("reload failed", "tokens", "error")
    assert reason in line["reason"]
    assert "hunter2" not in line["reason"]
    assert renewed.success() == 0
    assert [secret for secret in ("a", "first", "own") if renewed.works(secret)] == ["first", "own"]
    assert renewed.guarded.stack.rest.get("/v2").status_code == 401
    renewed.replace(FIRST)
    assert renewed.success() == 1


def test_a_stream_may_outlive_its_token(renewed: Renewed) -> None:
    """A message of an open stream is a request as any other: refused from when the token is gone."""
    messages: SimpleQueue[pb.ModelInferRequest | None] = SimpleQueue()
    stub = pb_grpc.GRPCInferenceServiceStub(renewed.guarded.stack.channel)
    metadata = (("authorization", "Bearer first"),)
    answers = stub.ModelStreamInfer(iter(messages.get, None), timeout=30, metadata=metadata)
    messages.put(pb.ModelInferRequest(model_name="nothing"))
    assert "'nothing'" in next(answers).error_message
    renewed.replace([entry("ci", "second")])
    messages.put(pb.ModelInferRequest(model_name="nothing"))
    assert next(answers).error_message == "authorization: this token is not known"
    messages.put(None)
    assert list(answers) == []
