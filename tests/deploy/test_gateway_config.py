"""The gateway's configuration in the cluster is one that the gateway accepts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.checking.paths import DEPLOY
from serve.config import ConfigError, read_config

CONFIG = DEPLOY / "base" / "gateway" / "gateway.yaml"
ENGINES = {path.parent.name: path for path in sorted(DEPLOY.glob("overlays/*/engines.yaml"))}
TOKENS = [{"name": "tests", "role": "infer", "sha256": "0" * 64}]


def variables(tokens: Path, overlay: str = "dev-cpu") -> dict[str, str]:
    """What the pod's environment says, but for the place of the tokens."""
    engines = ENGINES[overlay].read_text(encoding="utf-8")
    return {"ATTNSERVE_TOKENS_FILE": str(tokens), "ATTNSERVE_ENGINES": engines}


def check_config(config: Path, tokens: Path) -> subprocess.CompletedProcess[str]:
    """Runs what the pod runs, and only as far as the configuration."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ATTNSERVE_")}
    return subprocess.run(
        [Path(sys.executable).with_name("attnserve"), "serve", "--config", config, "--check-config"],
        env=ours | variables(tokens),
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
    """`--check-config` passes on the file that the ConfigMap is made of, with an overlay's engines."""
    done = check_config(CONFIG, tokens)
    assert done.returncode == 0, done.stderr


def test_the_check_would_find_a_mistake(tokens: Path, tmp_path: Path) -> None:
    """The same file with one key misspelt is refused, and the message names the key that was meant."""
    spoilt = tmp_path / "gateway.yaml"
    spoilt.write_text(CONFIG.read_text(encoding="utf-8").replace("grpc_port", "grcp_port"), encoding="utf-8")
    with pytest.raises(ConfigError, match="grpc_port"):
        read_config(spoilt, variables(tokens))


def test_it_is_refused_without_tokens(tmp_path: Path) -> None:
    """A pod whose Secret is empty does not serve the world."""
    empty = tmp_path / "tokens.yaml"
    empty.write_text("[]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="token"):
        read_config(CONFIG, variables(empty))


@pytest.mark.parametrize("overlay", ENGINES)
def test_an_overlays_engines_are_read(overlay: str, tokens: Path) -> None:
    """The file becomes a variable, which is a list only when a bracket is the first thing in it."""
    config = read_config(CONFIG, variables(tokens, overlay))
    listed = yaml.safe_load(ENGINES[overlay].read_text(encoding="utf-8"))
    assert [engine.address for engine in config.engines] == [engine["address"] for engine in listed]
    assert config.engines


def test_every_overlay_has_engines() -> None:
    """A gateway without any would look for a TorchServe of its own, which its image has not."""
    overlays = {path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml")}
    assert overlays == ENGINES.keys()


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


def test_a_workers_port_is_the_one_that_engines_name() -> None:
    """TorchServe listens where its Service leads, for all that come, and loads all that it was given."""
    worker = DEPLOY / "base" / "worker"
    service = yaml.safe_load((worker / "worker-service.yaml").read_text(encoding="utf-8"))
    (port,) = service["spec"]["ports"]
    properties = (worker / "config.properties").read_text(encoding="utf-8").splitlines()
    assert f"grpc_inference_port={port['port']}" in properties
    assert {"grpc_inference_address=0.0.0.0", "load_models=all"} <= set(properties)
