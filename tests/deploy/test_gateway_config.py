"""The gateway's configuration in the cluster is one that the gateway accepts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.check import DEPLOY

CONFIG = DEPLOY / "base" / "gateway" / "gateway.yaml"
TOKENS = [{"name": "tests", "role": "infer", "sha256": "0" * 64}]


def check_config(config: Path, tokens: Path) -> subprocess.CompletedProcess[str]:
    """Runs what the pod runs, but for the place of the tokens, and only as far as the configuration."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ATTNSERVE_")}
    return subprocess.run(
        [Path(sys.executable).with_name("attnserve"), "serve", "--config", config, "--check-config"],
        env=ours | {"ATTNSERVE_TOKENS_FILE": str(tokens)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of tokens as the Secret brings it."""
    path = tmp_path / "tokens.yaml"
    path.write_text(yaml.safe_dump(TOKENS), encoding="utf-8")
    return path


def test_the_gateway_accepts_it(tokens: Path) -> None:
    """`--check-config` passes on the file that the ConfigMap is made of."""
    done = check_config(CONFIG, tokens)
    assert done.returncode == 0, done.stderr


def test_the_check_would_find_a_mistake(tokens: Path, tmp_path: Path) -> None:
    """The same file with one key misspelt is refused, and the message names the key that was meant."""
    spoilt = tmp_path / "gateway.yaml"
    spoilt.write_text(CONFIG.read_text(encoding="utf-8").replace("grpc_port", "grcp_port"), encoding="utf-8")
    done = check_config(spoilt, tokens)
    assert done.returncode != 0
    assert "grpc_port" in done.stdout + done.stderr


def test_it_is_refused_without_tokens(tmp_path: Path) -> None:
    """A pod whose Secret is empty does not serve the world."""
    empty = tmp_path / "tokens.yaml"
    empty.write_text("[]\n", encoding="utf-8")
    done = check_config(CONFIG, empty)
    assert done.returncode != 0
    assert "token" in done.stdout + done.stderr


def test_its_ports_are_those_of_the_deployment() -> None:
    """The ports in the configuration are the container's, the probes' and the image's."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    deployment = yaml.safe_load((CONFIG.parent / "gateway-deployment.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {name: config[f"{name}_port"] for name in ("http", "grpc", "metrics")}
    assert {container[f"{kind}Probe"]["grpc"]["port"] for kind in ("startup", "liveness", "readiness")} == {
        config["grpc_port"]
    }


def test_its_engine_is_the_workers_service() -> None:
    """The address resolves to the headless Service, and the models are those that the workers load."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    worker = CONFIG.parent.parent / "worker"
    service = yaml.safe_load((worker / "worker-service.yaml").read_text(encoding="utf-8"))
    (engine,) = config["engines"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert engine["address"] == f"dns:///{name}:{port}"
    loaded = ",".join(f"{model}.mar" for model in engine["models"])
    properties = (worker / "config.properties").read_text(encoding="utf-8").splitlines()
    assert f"load_models={loaded}" in properties
    assert f"grpc_inference_port={port}" in properties
