"""The command line: what it prints, for people and for machines, and its exit codes."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.e2e.demo import MODELS, Demo
from tests.e2e.processes import attnserve, attnserve_at_once, free_ports
from tests.e2e.stacks import Stack


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_classify_a_folder(stack: Stack, demo: Demo, protocol: str) -> None:
    """Every image below the folder through every ready model, as JSON, in order."""
    url = stack.addresses[protocol] if protocol == "http" else f"grpc://{stack.addresses[protocol]}"
    done = attnserve("classify", demo.samples, "--url", url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [row["model"] for row in rows[:: len(demo.images)]] == list(MODELS)
    for model in MODELS:
        own = [row for row in rows if row["model"] == model]
        assert [row["file"] for row in own] == [str(path) for path in sorted(demo.samples.iterdir())]
        assert demo.share_right([row["label"] for row in own]) >= 0.95
        assert all(row["version"] == "1" and 0 < row["probability"] <= 1 for row in own)


def test_a_bad_file_fails_alone(stack: Stack, demo: Demo, tmp_path: Path) -> None:
    """The others are named; the bad ones have their reasons; exit code 1."""
    good = sorted(demo.samples.iterdir())[:2]
    (tmp_path / "torn.png").write_bytes(b"torn")
    (tmp_path / "empty.png").touch()
    files = [good[0], tmp_path / "torn.png", good[1], tmp_path / "empty.png"]
    command = ["classify", *files, "--model", "digits_se", "--url", f"grpc://{stack.addresses['grpc']}"]
    done = attnserve(*command, "--json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [row["label"] for row in rows] == [demo.labels[0], "", demo.labels[1], ""]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert "JPEG" in rows[1]["error"]
    table = attnserve(*command)
    assert table.returncode == 1
    assert "torn.png" in table.stdout


def test_classify_by_several_models(stack: Stack, demo: Demo) -> None:
    """--model repeats; a table names file, model, label and probability."""
    image = min(demo.samples.iterdir())
    models = ("--model", "digits_se", "--model", "digits_sk")
    done = attnserve("classify", image, *models, "--url", f"grpc://{stack.addresses['grpc']}")
    assert done.returncode == 0
    for word in (image.name, "digits_se", "digits_sk", demo.labels[0], "probability"):
        assert word in done.stdout
    assert "digits_eca" not in done.stdout


def test_classify_by_an_unknown_model(stack: Stack, demo: Demo) -> None:
    """It was tried and refused: exit code 1, in the gateway's words."""
    done = attnserve(
        "classify", demo.samples, "--model", "digits_zz", "--url", f"grpc://{stack.addresses['grpc']}"
    )
    assert done.returncode == 1
    assert "model 'digits_zz' is not found" in done.stdout + done.stderr


@pytest.mark.parametrize("command", [("classify",), ("models",)])
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_no_gateway(demo: Demo, command: tuple[str, ...], scheme: str) -> None:
    """Exit code 3, the address, and no traceback."""
    (port,) = free_ports(1)
    images = [demo.samples] if command == ("classify",) else []
    done = attnserve(*command, *images, "--url", f"{scheme}://127.0.0.1:{port}")
    assert done.returncode == 3
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_use(demo: Demo, tmp_path: Path) -> None:
    """Exit code 2 for what can never work: no such file, no image in it, no such address, role, option."""
    cases: tuple[tuple[tuple[object, ...], str], ...] = (
        (("classify", tmp_path / "none.png"), "none.png"),
        (("classify", tmp_path), "no image"),
        (("classify", demo.samples, "--url", "tcp://here"), "grpc://host:port"),
        (("token", "ci", "--role", "king"), "king"),
        (("token", ""), "must not be empty"),
        (("serve", "--port", "1"), "--port"),
    )
    ended = attnserve_at_once(*(arguments for arguments, _ in cases))
    for (arguments, part), done in zip(cases, ended, strict=True):
        assert (done.returncode, arguments) == (2, arguments)
        assert part in done.stderr.replace("\n", "")
        assert "Traceback" not in done.stderr


def test_models(stack: Stack) -> None:
    """Names, versions, states and recipes, over both protocols, as a table or JSON."""
    expected = [
        {
            "name": name,
            "version": "1",
            "state": "READY",
            "reason": "",
            "recipe": "portable",
            "recipe_reasons": [],
        }
        for name in MODELS
    ]
    for url in (stack.addresses["http"], f"grpc://{stack.addresses['grpc']}"):
        done = attnserve("models", "--url", url, "--json")
        found = [entry for entry in json.loads(done.stdout) if entry["version"]]  # experiments have none
        assert (done.returncode, found) == (0, expected)
    table = attnserve("models", "--url", stack.addresses["http"])
    assert all(name in table.stdout for name in (*MODELS, "READY", "portable"))


def test_inspect(demo: Demo, tmp_path: Path) -> None:
    """The card of an archive; exit code 1 when it is not what its hashes say."""
    done = attnserve("inspect", demo.archives / "digits_se.mar", "--json")
    assert done.returncode == 0
    assert "digits_se" in done.stdout
    assert json.loads(done.stdout)
    for name in ("digits_se.mar", "SHA256SUMS"):
        shutil.copy(demo.archives / name, tmp_path)
    with (tmp_path / "digits_se.mar").open("ab") as archive:
        archive.write(b"more")
    assert attnserve("inspect", tmp_path / "digits_se.mar").returncode == 1


@pytest.mark.slow
def test_version_and_help() -> None:
    """The version is the distribution's; help lists every command, and each command shows an example."""
    named = ("serve", "classify", "models", "token", "doctor")
    told, general, nothing, *helps = attnserve_at_once(
        ("--version",), ("--help",), (), *((name, "--help") for name in named)
    )
    assert told.stdout == f"{version('attnserve')}\n"
    listed = general.stdout
    assert [name for name in ("zoo", "build", "inspect") if name not in listed] == []
    for command, done in zip(named, helps, strict=True):
        assert command in listed
        assert done.returncode == 0
        assert f"attnserve {command}" in done.stdout
    assert nothing.returncode == 2
