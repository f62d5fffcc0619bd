"""What a supervised TorchServe is started with."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from serve.torchserve_config import (
    Folder,
    Ports,
    config_properties,
    environment,
    java_command,
    log4j2_xml,
)

PORTS = Ports(inference_http=1, management_http=2, metrics_http=3, inference_grpc=4, management_grpc=5)
FOLDER = Folder(root=Path("/private"), log=Path("/run/torchserve.log"))


def _properties() -> dict[str, str]:
    lines = config_properties(FOLDER, PORTS, 1000).splitlines()
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_every_address_is_on_loopback() -> None:
    """No port of TorchServe is reachable from another machine."""
    addresses = {key: value for key, value in _properties().items() if key.endswith("_address")}
    assert addresses == {
        "inference_address": "http://127.0.0.1:1",
        "management_address": "http://127.0.0.1:2",
        "metrics_address": "http://127.0.0.1:3",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
    }
    assert (_properties()["grpc_inference_port"], _properties()["grpc_management_port"]) == ("4", "5")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("disable_token_authorization", "false"),
        ("allowed_urls", "^$"),
        ("install_py_dep_per_model", "false"),
        ("enable_envvars_config", "false"),
        ("max_request_size", "1000"),
        ("max_response_size", "1000"),
    ],
)
def test_the_configuration_is_hardened(key: str, value: str) -> None:
    """Tokens are asked for, nothing is fetched or installed, and sizes are bounded."""
    assert _properties()[key] == value


def test_cross_origin_requests_and_models_to_load_are_not_configured() -> None:
    """What is not set is off."""
    assert not {key for key in _properties() if key.startswith("cors") or key in {"load_models", "models"}}


def test_the_log_configuration_is_xml_whatever_the_path() -> None:
    """A run folder may have characters that mean something in XML."""
    root = ET.fromstring(log4j2_xml(Path('/a "b" & <c>/torchserve.log')))  # noqa: S314 - our own text
    (file,) = root.iter("RollingFile")
    assert file.attrib["fileName"] == '/a "b" & <c>/torchserve.log'


def test_secrets_and_overrides_are_withheld() -> None:
    """Workers run the archives' code: they get what programs need, and nothing confidential."""
    kept = {"PATH": "/bin", "LANG": "C", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2"}
    kept["http_proxy"] = "http://proxy:3128"
    withheld = {
        "ATTNSERVE_HTTP_PORT": "1",
        "AWS_SECRET_ACCESS_KEY": "x",
        "github_token": "x",
        "PGPASSWORD": "x",
        "DB_PASS": "x",
        "SSH_AUTH_SOCK": "/tmp/agent",  # noqa: S108  only a value
        "DATABASE_URL": "postgresql://user:x@db/attn",
        "https_proxy": "http://user:x@proxy:3128",
        "TS_CONFIG_FILE": "/evil",
        "LOG_LOCATION": "/evil",
        "JAVA_TOOL_OPTIONS": "-javaagent:evil",
        "TMPDIR": "/elsewhere",
    }
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), "/private/tmp")
    assert environment(kept | withheld, Path("/private/tmp")) == kept | temporary


def test_the_command_is_java_with_our_configuration() -> None:
    """The JVM's options come first; snapshots are off, so that no old state is read."""
    command = java_command(Path("/java"), Path("/python"), Path("/site"), FOLDER, ("-Xmx1m",))
    assert command[:2] == ["/java", "-Xmx1m"]
    assert command[-8:] == [
        "org.pytorch.serve.ModelServer", "--python", "/python", "-f", "/private/config.properties",
        "-s", "/private/store", "-ncs",
    ]  # fmt: skip
    assert "-Dlog4j.configurationFile=file:///private/log4j2.xml" in command


def test_picked_ports_are_free_and_different() -> None:
    """Five at once, so that none is picked twice."""
    ports = Ports.pick()
    assert len(set(astuple(ports))) == 5
    assert ports.are_free()


def test_the_demand_for_a_gpu_reaches_the_worker() -> None:
    """Of our own variables only this one, and the wish for a recipe, are the worker's business."""
    own = {"ATTNSERVE_REQUIRE_GPU": "1", "ATTNSERVE_RECIPE": "portable"}
    given = own | {"ATTNSERVE_TOKEN": "secret", "ATTNSERVE_REQUIRE_GPUS": "1", "ATTNSERVE_RECIPES": "all"}
    kept = environment(given, Path("/tmp"))  # noqa: S108  only named
    assert {name: value for name, value in kept.items() if name.startswith("ATTNSERVE_")} == own
