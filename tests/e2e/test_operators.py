"""What operators rely on: limits hold, acts are taken down, and secrets stay where they belong."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
import pytest
import yaml

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.processes import attnserve, wait_until
from tests.e2e.stacks import Stack, started

MODEL = "digits_plain"
LOAD, UNLOAD = (f"/v2/repository/models/{MODEL}/{verb}" for verb in ("load", "unload"))
# The gateway's environment: each of these names or values is no worker's business.
CONFIDENTIAL = {
    "ATTNSERVE_TOKEN": "env-secret-1",
    "AWS_SECRET_ACCESS_KEY": "env-secret-2",
    "GITHUB_TOKEN": "env-secret-3",
    "PGPASSWORD": "env-secret-4",
    "API_KEY": "env-secret-5",
    "DATABASE_URL": "postgresql://user:env-secret-6@db/attn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """A gateway with three callers, and their secrets."""

    stack: Stack
    secrets: dict[str, str]

    def headers(self, who: str) -> dict[str, str]:
        """What carries the caller's secret."""
        return {"Authorization": f"Bearer {self.secrets[who]}"}

    def audited(self) -> list[dict[str, Any]]:
        """The audit file, line by line."""
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]

    @property
    def audit_file(self) -> Path:
        """Where it lies unless the configuration says otherwise."""
        return self.stack.run_dir / "audit.jsonl"


def make_token(name: str, role: str) -> tuple[str, dict[str, Any]]:
    """A secret, and its entry for the configuration."""
    secret, line = attnserve("token", name, "--role", role).stdout.splitlines()
    (entry,) = yaml.safe_load(line)
    return secret, entry


@pytest.fixture(scope="module")
def operated(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """It supervises a TorchServe; at its end, no secret is in any file that it or TorchServe wrote."""
    secrets, entries = {}, []
    for name, role in (("slow", "infer"), ("fast", "infer"), ("ops", "operate")):
        secrets[name], entry = make_token(name, role)
        entries.append(entry | ({"max_images_per_s": 0.5} if name == "slow" else {}))
    config = {"model_store": str(demo.archives), "models": [MODEL], "tokens": entries}
    path = tmp_path_factory.mktemp("config") / "gateway.yaml"
    path.write_text(yaml.safe_dump(config))
    with started(CONFIDENTIAL, "--config", str(path)) as running:
        running.wait_ready()
        operated = Operated(stack=running, secrets=secrets)
        management = management_token(running)
        yield operated
        assert running.end() == 0
        assert operated.audited()[-1]["act"] == "stop"
        written = running.log() + "".join(
            file.read_text(errors="replace") for file in running.run_dir.iterdir() if file.is_file()
        )
    values = (*secrets.values(), management, *CONFIDENTIAL.values(), "env-secret")
    assert [value for value in values if value in written] == []


def management_token(stack: Stack) -> str:
    """The key to TorchServe's management port, which lies in the supervised one's private folder."""
    (file,) = stack.temporary.rglob("key_file.json")
    return str(json.loads(file.read_text())["management"]["key"])


def infer(operated: Operated, who: str, image: bytes) -> tuple[int, str | None]:
    """Ask over REST; gives the status and Retry-After."""
    headers = operated.headers(who) | {"Inference-Header-Content-Length": "0"}
    response = operated.stack.rest.post(f"/v2/models/{MODEL}/infer", content=image, headers=headers)
    return response.status_code, response.headers.get("Retry-After")


@pytest.mark.slow
def test_a_limit_holds_over_both_protocols(operated: Operated, demo: Demo) -> None:
    """Two images are the burst of half an image a second; then both doors say when to come back."""
    image = demo.images[0]
    assert [infer(operated, "slow", image) for _ in range(2)] == [(200, None)] * 2
    status, retry_after = infer(operated, "slow", image)
    assert status == 429
    assert 1 <= int(retry_after or 0) <= 2
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(image)
    request = pb.ModelInferRequest(model_name=MODEL, inputs=[tensor])
    stub = pb_grpc.GRPCInferenceServiceStub(operated.stack.channel)
    metadata = (("authorization", operated.headers("slow")["Authorization"]),)
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request, timeout=20, metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'slow' has reached its rate limit, max_images_per_s = 0.5" in str(refused.value.details())
    assert (
        1
        <= int(dict(cast("Iterable[tuple[str, str]]", refused.value.trailing_metadata()))["retry-after"])
        <= 2
    )
    assert [infer(operated, "fast", image)[0] for _ in range(20)] == [200] * 20


@pytest.mark.slow
def test_every_act_is_taken_down(operated: Operated) -> None:
    """The start, what was done and by whom, and what was tried; in a file that only its owner reads."""
    rest = operated.stack.rest
    assert rest.post(UNLOAD, headers=operated.headers("fast")).status_code == 403
    assert rest.post(UNLOAD).status_code == 401
    assert (
        rest.post("/v2/repository/models/no%0Aone/load", headers=operated.headers("ops")).status_code == 404
    )
    for path in (UNLOAD, LOAD):
        assert rest.post(path, headers=operated.headers("ops")).status_code == 200
    wait_until(lambda: len(operated.audited()) >= 6, 10, "the lines are written")
    lines = operated.audited()
    assert all(line["time"].endswith("Z") for line in lines)
    assert (lines[0]["act"], lines[0]["target"], lines[0]["principal"]) == ("start", "gateway", "gateway")
    shown = [[line.get(key) for key in ("act", "target", "principal", "outcome")] for line in lines[1:]]
    assert shown == [
        ["unload", MODEL, "fast", "forbidden"],
        ["unload", MODEL, None, "unauthenticated"],
        ["load", "no\\none", "ops", "not_found"],
        ["unload", MODEL, "ops", "ok"],
        ["load", MODEL, "ops", "ok"],
    ]
    assert lines[5]["duration_s"] > 0.1
    assert all("127.0.0.1" in line["peer"] for line in lines[1:3])
    assert stat.S_IMODE(operated.audit_file.stat().st_mode) == 0o600
    logged = [event["act"] for event in operated.stack.events("audit")]
    assert logged == [line["act"] for line in lines]
    assert operated.stack.series()["attnserve_audit_write_failures_total"] == 0


@pytest.mark.slow
def test_workers_know_no_secret(operated: Operated) -> None:
    """Neither the environment nor the command line of Java and its workers has one, by name or by value."""
    processes = [operated.stack.java(), *operated.stack.workers()]
    assert len(processes) >= 2
    values = [*operated.secrets.values(), *CONFIDENTIAL.values(), management_token(operated.stack)]
    for process in processes:
        environment = process.environ()
        assert not environment.keys() & CONFIDENTIAL.keys()
        text = "\n".join((*environment.values(), *process.cmdline()))
        assert [value for value in (*values, "env-secret") if value in text] == []
    assert_runs_as_we_do(processes)


def assert_runs_as_we_do(processes: list[psutil.Process]) -> None:
    """The check above looked at real processes: their environment is there, and is theirs."""
    assert all(process.environ()["TMPDIR"].startswith("/") for process in processes)
