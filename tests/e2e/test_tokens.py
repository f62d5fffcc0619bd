"""Tokens: who may ask, who may operate, and what stays open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.processes import attnserve
from tests.e2e.stacks import Stack, StartStack, started
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
