"""`attnserve doctor` as a command: the demo's configuration is sound, and what is not gives exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.e2e.demo import Demo
from tests.e2e.processes import attnserve
from tests.e2e.stacks import PORTS, Stack


def test_what_make_serve_starts_has_no_errors(demo: Demo, tmp_path: Path) -> None:
    """Defaults and the demo's archives; each check is told, as JSON and as text."""
    where = {"ATTNSERVE_MODEL_STORE": str(demo.archives), "ATTNSERVE_RUN_DIR": str(tmp_path / "run")}
    done = attnserve("doctor", "--json", **where, **PORTS)
    told = json.loads(done.stdout)
    assert [one for one in told if one["severity"] == "error"] == []
    # Who runs the tests, and with which limits, is not the configuration's fault.
    surroundings = ("user", "open files", "room")
    assert [one for one in told if one["severity"] == "warning" and one["check"] not in surroundings] == []
    assert (done.returncode, done.stderr) == (0, "")
    text = attnserve("doctor", **where, **PORTS)
    assert text.returncode == 0
    assert text.stdout.splitlines()[-1].startswith("errors: 0, ")


def test_unsafe_settings(demo: Demo, tmp_path: Path) -> None:
    """They are named, with what to do; exit code 1, and nothing was started or written."""
    config = tmp_path / "gateway.yaml"
    settings = {
        "host": "0.0.0.0",  # noqa: S104  nothing listens there
        "allow_unauthenticated": True,
        "model_store": str(demo.archives),
        "run_dir": str(tmp_path / "run"),
        "attempts": {"attempt_timeout_s": 60},
    }
    config.write_text(yaml.safe_dump(settings))
    config.chmod(0o666)
    done = attnserve("doctor", "--config", config, **PORTS)
    assert done.returncode == 1
    for part in ("there are no tokens", "there is no TLS", "can be changed by every user", "To do: "):
        assert part in done.stdout
    assert not (tmp_path / "run").exists()
    config.write_text("htpp_port: 1\n")
    done = attnserve("doctor", "--config", config)
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"error   configuration: {config}: htpp_port: unknown key; did you mean http_port?"
    )


def test_warnings_count_when_asked(demo: Demo, tmp_path: Path) -> None:
    """With --strict they give exit code 1, too."""
    where = {"ATTNSERVE_MODEL_STORE": str(demo.archives), "ATTNSERVE_RUN_DIR": str(tmp_path / "run")}
    spoiled = where | {"ATTNSERVE_ATTEMPTS_ATTEMPT_TIMEOUT_S": "60"}
    assert attnserve("doctor", **spoiled, **PORTS).returncode == 0
    assert attnserve("doctor", "--strict", **spoiled, **PORTS).returncode == 1


def test_beside_a_gateway_that_runs(stack: Stack) -> None:
    """Its ports are taken, by itself: no error."""
    http, grpc, metrics = (
        stack.addresses[name].split(":")[-1].split("/")[0] for name in ("http", "grpc", "metrics")
    )
    ports = {"ATTNSERVE_HTTP_PORT": http, "ATTNSERVE_GRPC_PORT": grpc, "ATTNSERVE_METRICS_PORT": metrics}
    told = json.loads(attnserve("doctor", "--json", ATTNSERVE_RUN_DIR=str(stack.run_dir), **ports).stdout)
    taken = [one["severity"] for one in told if one["check"] == "ports"]
    assert taken == ["info"] * 3
