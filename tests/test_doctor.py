"""`attnserve doctor`: each check says nothing where all is well, and names what is not."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from serve import doctor
from serve.doctor import CHECKS, Check, as_documents, examine, exit_code, show
from serve.doctoring import machine
from serve.doctoring.finding import Finding, Patient, Severity
from tests.patients import (
    AUTHORITY,
    BEYOND,
    World,
    add_broken,
    add_unlisted,
    alter,
    attempts,
    empty,
    fill,
    forget,
    guessable,
    need_gpu,
    no_java,
    no_tokens,
    no_torchserve,
    on_postgres,
    open_audit,
    other_user_may_write,
    plant,
    reachable,
    run_dir_is_no_folder,
    sha256,
    until,
    with_tokens_file,
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing is wrong."""
    return World(folder=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of loopback that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


def closed_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_where_all_is_well_each_check_says_so(world: World) -> None:
    """One line a check, none of them a finding, and exit code 0 even when strict."""
    world.certify()
    told = world.told()
    assert [one.check for one in told] == ["configuration", *(check.name for check in CHECKS)]
    assert {one.finding.severity for one in told} == {Severity.OK}
    assert all(one.finding.what and not one.finding.why for one in told)
    assert exit_code(told, strict=True) == 0


Spoil = Callable[[World], object]


def both(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(world: World) -> None:
        for one in spoils:
            one(world)

    return spoil


SPOILED: dict[str, tuple[Spoil, str, str, str]] = {
    "open to all": (
        both(no_tokens, lambda world: reachable(world, allow_unauthenticated=True)),
        "reach", "error", "there are no tokens"),
    "no TLS": (lambda world: reachable(world, tls=False), "reach", "warning", "there is no TLS"),
    "metrics": (reachable, "reach", "warning", "the metrics port is open at '0.0.0.0'"),
    "needless": (
        lambda world: world.settings.update(allow_unauthenticated=True),
        "reach", "info", "allow_unauthenticated is true"),
    "no tokens": (no_tokens, "tokens", "info", "there are no tokens"),
    "a word": (lambda world: guessable(world, "secret"), "tokens", "error", "token 'ci' is a word"),
    "its name": (lambda world: guessable(world, "ci"), "tokens", "error", "token 'ci' is a word"),
    "tokens_file read": (
        lambda world: with_tokens_file(world, 0o604), "files", "warning", "can be read by every user"),
    "tokens_file written": (
        lambda world: with_tokens_file(world, 0o602), "files", "error", "can be changed by every user"),
    "a guessable one in the file": (
        both(
            lambda world: with_tokens_file(world, 0o600),
            lambda world: world.write("tokens.yaml", [{"name": "more", "sha256": sha256(b"more")}])),
        "tokens", "error", "token 'more' is a word"),
    "token expires": (
        lambda world: until(world, days=5.01), "expiry", "warning", "token 'ci' expires in 5 days"),
    "token expired": (lambda world: until(world, days=-1), "expiry", "warning", "token 'ci' has expired"),
    "configuration written": (
        lambda world: other_user_may_write(world.write("gateway.yaml", world.settings)),
        "files", "error", "the configuration"),
    "digests read": (
        lambda world: world.write("gateway.yaml", world.settings, 0o644),
        "files", "warning", "gateway.yaml, lists tokens and can be read by every user"),
    "expired": (lambda world: world.certify(days=-1), "certificates", "error", "certificate has expired"),
    "expires soon": (lambda world: world.certify(days=10), "certificates", "warning", "expires in 10 days"),
    "another key": (
        lambda world: world.certify(key=AUTHORITY.server().key),
        "certificates", "error", "is not the key of tls.certificate"),
    "key read": (lambda world: world.certify(mode=0o644), "certificates", "error", "is open to every user"),
    "client_ca gone": (
        both(World.certify, lambda world: world.settings["tls"].update(client_ca=str(world.folder / "ca"))),
        "certificates", "error", "cannot be read: No such file"),
    "client_ca torn": (
        both(
            World.certify,
            lambda world: world.settings["tls"].update(client_ca=str(world.write("ca.pem", "torn")))),
        "certificates", "error", "tls.client_ca"),
    "no store": (lambda world: shutil.rmtree(world.store), "model store", "error", "is not there"),
    "empty store": (empty, "model store", "error", "is empty"),
    "store written": (
        lambda world: other_user_may_write(world.store),
        "model store", "error", "can be changed by every user"),
    "archive written": (
        lambda world: other_user_may_write(world.store / "net.mar"),
        "model store", "error", "net.mar can be changed"),
    "no sums": (
        lambda world: (world.store / "SHA256SUMS").unlink(), "archives", "error", "SHA256SUMS is missing"),
    "altered": (alter, "archives", "error", "net.mar is not the archive that was listed"),
    "unlisted": (add_unlisted, "archives", "error", "stranger.mar is not listed in SHA256SUMS"),
    "no archive": (add_broken, "archives", "error", "cannot be read as a model archive"),
    "lost": (forget, "archives", "info", "not there: net.mar"),
    "wanted": (
        lambda world: world.settings.update(models=["net", "missing"]),
        "archives", "error", "models names missing"),
    "default version": (
        lambda world: world.settings.update(default_versions={"net": "2"}),
        "archives", "error", "default_versions names net version 2"),
    "untrained": (
        lambda world: world.add_archive(name="raw", trained=False), "archives", "warning", "untrained: raw"),
    "run_dir a file": (run_dir_is_no_folder, "run_dir", "error", "cannot be written"),
    "run_dir written": (
        lambda world: other_user_may_write(world.run_dir),
        "run_dir", "error", "can be changed by every user"),
    "run_dir read": (lambda world: world.run_dir.chmod(0o755), "run_dir", "info", "can be looked into"),
    "audit a link": (plant, "audit", "error", "it is a link"),
    "audit read": (open_audit, "audit", "warning", "has the mode 644"),
    "audit nowhere": (
        lambda world: world.settings.update(audit_file=str(world.write("file", "") / "audit.jsonl")),
        "audit", "error", "cannot be used"),
    "store alone": (
        lambda world: world.engines(f"127.0.0.1:{closed_port()}"),
        "experiments' store", "info", "experiments are kept in a file"),
    "store away": (
        lambda world: on_postgres(world, closed_port()),
        "experiments' store", "warning", "experiments.store_url: the experiment store does not answer"),
    "store's password": (
        lambda world: world.write("gateway.yaml", on_postgres(world, closed_port()), 0o644),
        "experiments' store", "error", "holds the password"),
    "keys read": (
        lambda world: on_postgres(world, closed_port(), mode=0o644),
        "experiments' keys", "error", "is open to every user"),
    "no keys": (
        lambda world: on_postgres(world, closed_port(), keys="unit_key: short"),
        "experiments' keys", "error", "unit_key"),
    "run_dir full": (lambda world: fill(world, 1_000_000), "room", "warning", "has 1 MB left"),
    "no room for models": (lambda world: fill(world, 100), "room", "error", "the models need about"),
    "unknown host": (
        lambda world: world.engines("no-such-host.invalid:7070"), "engines", "error", "cannot be looked up"),
    "silent engine": (
        lambda world: world.engines(f"127.0.0.1:{closed_port()}"), "engines", "warning", "nobody answers at"),
    "one engine": (
        lambda world: world.engines(f"127.0.0.1:{closed_port()}"),
        "spare engines", "info", "only one engine holds net, other"),
    "far engine": (
        lambda world: world.engines("no-such-host.invalid:7070"), "way to engines", "info", "in plain text"),
    "no Java": (no_java, "java", "error", "TorchServe needs Java 17"),
    "old Pillow": (
        lambda world: world.have("pillow", "12.3.0"), "versions", "error", "pillow is 12.3.0, not >=13.0.0"),
    "old grpcio": (lambda world: world.have("grpcio", "1.60.1"), "versions", "error", "grpcio is 1.60.1"),
    "other torch": (
        lambda world: world.have("torch", "2.12.1+cpu"),
        "versions", "warning", "torch is 2.12.1+cpu, not 2.13.0"),
    "other torchserve": (
        lambda world: world.have("torchserve", "0.11.0"), "versions", "warning", "torchserve is 0.11.0"),
    "no torchserve": (no_torchserve, "versions", "error", "torchserve is not installed"),
    "no GPU": (need_gpu, "gpu", "error", "there is no GPU: this machine shows none"),
    "hidden GPU": (
        lambda world: need_gpu(world, "nvidia0", hidden=True), "gpu", "error", "CUDA_VISIBLE_DEVICES hides"),
    "few files": (
        lambda world: world.limit(resource.RLIMIT_NOFILE, 2500),
        "open files", "warning", "2500 files may be open, max_connections = 1024 at each door needs 2560"),
    "root": (
        lambda world: world.monkeypatch.setattr(os, "geteuid", lambda: 0), "user", "warning", "runs as root"),
    "core dumps": (
        lambda world: world.limit(resource.RLIMIT_CORE, resource.RLIM_INFINITY),
        "core dumps", "info", "core dumps are on"),
    "long attempts": (
        lambda world: attempts(world, attempt_timeout_s=40),
        "attempts", "warning", "above request_timeout_s, 30"),
    "patience": (
        lambda world: attempts(world, patience_s=20), "attempts", "warning", "attempts.patience_s, 20"),
    "slow worker": (
        lambda world: world.add_archive(response_timeout_s=20),
        "worker timeouts", "warning", "not above the responseTimeout of net:1 (20 s)"),
    "short drain": (
        lambda world: world.settings.update(drain_timeout_s=8),
        "drain", "info", "drain_timeout_s, 8, is below"),
    "many images": (
        lambda world: world.settings.update(max_request_images=2000),
        "sizes", "warning", "above batching.max_queue_images, 1024"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_spoiled_is_named(world: World, name: str) -> None:
    """By the check that is about it, as bad as it is, with the reason and what to do."""
    spoil, check, severity, part = SPOILED[name]
    spoil(world)
    told = world.told()
    found = [one.finding for one in told if one.check == check and part in one.finding.what]
    assert [finding.severity.value for finding in found] == [severity], [one.finding.what for one in told]
    assert found[0].why
    assert found[0].do
    assert exit_code(told, strict=False) == int(any(one.finding.severity is Severity.ERROR for one in told))
    assert exit_code(told, strict=True) == 1 or severity == "info"


def test_the_token_to_put_beside_another_has_its_role(world: World) -> None:
    """The configuration refuses two of one name that differ in it."""
    until(world, days=5)
    (found,) = [one.finding for one in world.told() if one.check == "expiry"]
    assert "attnserve token ci --role operate --days" in found.do


def test_every_check_has_a_case_that_it_finds() -> None:
    """A check that nobody has seen find anything may find nothing ever."""
    proven = {check for _, check, _, _ in SPOILED.values()} | {"ports"}
    assert proven == {check.name for check in CHECKS}


@pytest.mark.parametrize("setting", ["http_port", "grpc_port", "metrics_port"])
def test_a_port_that_is_taken(world: World, listener: int, setting: str) -> None:
    """An error that names the setting and the variable; the gateway that runs with this folder is none."""
    world.settings[setting] = listener
    assert world.found() == [("ports", "error")]
    addresses = {
        "http": f"http://127.0.0.1:{listener}",
        "grpc": "127.0.0.1:1",
        "metrics": "http://h:2/metrics",
    }
    (world.run_dir / "addresses.json").write_text(json.dumps(addresses))
    assert world.found() == [("ports", "info")]


def test_engines_that_are_there(world: World, listener: int) -> None:
    """Two that answer, on this machine: nothing to say of them; what TorchServe needs is not looked at."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        world.engines(f"127.0.0.1:{listener}", f"dns:///localhost:{other.getsockname()[1]}")
        no_java(world)
        no_torchserve(world)
        shutil.rmtree(world.store)
        assert world.found() == [("experiments' store", "info")]


def test_a_gpu_that_is_there(world: World) -> None:
    """Asked for and present: nothing to say."""
    need_gpu(world, "nvidia0", "nvidiactl")
    assert world.found() == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("htpp_port: 1\nhots: x\n", ["did you mean http_port?", "did you mean host?"]),
        (f"host: {BEYOND}\n", ["which others can reach, and no tokens are set"]),
        ("tokens_file: /nowhere\n", ["/nowhere: cannot be read"]),
        ("a: b: c\n", ["is not YAML"]),
    ],
)
def test_a_broken_configuration_comes_first(tmp_path: Path, text: str, parts: list[str]) -> None:
    """Every wrong key is an error of its own, and nothing is said that would depend on it."""
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    told = examine(path, {})
    assert [one.check for one in told] == ["configuration"] * len(parts)
    for one, part in zip(told, parts, strict=True):
        assert part in one.finding.what
        assert one.finding.severity is Severity.ERROR
    assert exit_code(told, strict=False) == 1


def test_no_secret_is_shown(world: World) -> None:
    """Neither digests nor a secret that stands where a digest should."""
    world.settings["tokens"].append({"name": "x", "sha256": "my-very-secret-token"})
    assert "my-very-secret-token" not in str(world.told())
    (world.folder / "gateway.yaml").unlink()
    del world.settings["tokens"][1]
    guessable(world, "secret")
    assert sha256(b"secret") not in str(world.told())


def test_people_read_the_worst_last_and_machines_first(world: World) -> None:
    """On a terminal the end is what is seen; every finding has what, why and what to do."""
    no_tokens(world)
    alter(world)
    told = world.told()
    page = io.StringIO()
    show(Console(file=page, width=100), told)
    lines = page.getvalue().splitlines()
    assert lines[-1] == f"errors: 1, warnings: 0, to know: 1, well: {len(told) - 2}"
    assert lines[-5].startswith("error   archives: net.mar is not the archive that was listed")
    assert lines[-3].startswith("        To do: ")
    documents = as_documents(told)
    assert [document["severity"] for document in documents[:3]] == ["error", "info", "ok"]
    assert set(documents[0]) == {"check", "severity", "what", "why", "do"}
    assert json.loads(json.dumps(documents)) == documents


def test_torch_is_not_imported() -> None:
    """Its version is read from the installation's own words."""
    assert "torch" not in vars(doctor)
    assert "import torch" not in Path(machine.__file__).read_text()


def test_what_this_user_may_not_look_at_is_named(world: World) -> None:
    """The other checks go on; root may look everywhere, so it is the check that fails here."""

    def look(_patient: Patient) -> Iterator[Finding]:
        raise PermissionError(errno.EACCES, "Permission denied", "/closed/store")

    checks = (Check("model store", "well", look), Check("user", "well", lambda _patient: iter(())))
    _, closed, user = examine(None, world.environ, checks)
    assert closed.finding.severity is Severity.ERROR
    assert "/closed/store cannot be looked at: Permission denied" in closed.finding.what
    assert user.finding.severity is Severity.OK
