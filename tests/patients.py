"""Surroundings of a gateway in which nothing is wrong, and what may go wrong in them."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from serve.core.errors import UnavailableError
from serve.doctor import Told, examine
from serve.doctoring import machine
from tests.pki import Authority
from tests.test_archive import SIGNATURE as NET

SIGNATURE = NET | {"version": "1"}
SECRET = hashlib.sha256(b"a long and random secret").hexdigest()
AUTHORITY = Authority()
BEYOND = "0.0.0.0"  # noqa: S104  nothing listens there


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(kw_only=True)
class World:
    """A gateway's surroundings in which nothing is wrong, until a test spoils something."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    settings: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("store", "run"):
            (self.folder / name).mkdir(mode=0o700)
        self.settings = {
            "http_port": 0,
            "grpc_port": 0,
            "metrics_port": 0,
            "model_store": str(self.store),
            "run_dir": str(self.run_dir),
            "drain_timeout_s": 25,
            "tokens": [{"name": "ci", "role": "operate", "sha256": SECRET}],
        }
        self.add_archive()
        self.monkeypatch.setattr(os, "geteuid", lambda: 1000)
        self.monkeypatch.setattr(machine, "find_java", lambda _environ: Path("/java"))
        self.limit(resource.RLIMIT_NOFILE, 20_000)
        self.limit(resource.RLIMIT_CORE, 0)

    @property
    def store(self) -> Path:
        """The model store."""
        return self.folder / "store"

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def add_archive(self, *, response_timeout_s: int = 5, **signature: Any) -> Path:  # noqa: ANN401  JSON
        """Write an archive NAME.mar and list it."""
        signed = SIGNATURE | signature
        model = {"modelName": signed["name"], "modelVersion": signed["version"]}
        path = self.store / f"{signed['name']}.mar"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
            archive.writestr("signature.json", json.dumps(signed))
            archive.writestr("SHA256SUMS", f"what {signed['name']} lists\n")
            archive.writestr("model-config.yaml", f"responseTimeout: {response_timeout_s}\n")
        lines = [f"{sha256(one.read_bytes())}  {one.name}\n" for one in sorted(self.store.glob("*.mar"))]
        (self.store / "SHA256SUMS").write_text("".join(lines))
        return path

    def limit(self, kind: int, soft: int) -> None:
        """Make a limit of the process what it is said to be."""
        others = resource.getrlimit

        def getrlimit(asked: int) -> tuple[int, int]:
            return (soft, soft) if asked == kind else others(asked)

        self.monkeypatch.setattr(resource, "getrlimit", getrlimit)

    def certify(self, *, days: float = 365.0, key: bytes | None = None, mode: int = 0o600) -> None:
        """Set TLS files."""
        pair = AUTHORITY.server(days=(-2, days))
        for name, content in (("certificate", pair.certificate), ("key", key or pair.key)):
            path = self.folder / f"{name}.pem"
            path.write_bytes(content)
            path.chmod(mode)
        self.settings["tls"] = {name: str(self.folder / f"{name}.pem") for name in ("certificate", "key")}

    def engines(self, *addresses: str) -> None:
        """List engines that run elsewhere, with two models each."""
        self.settings["engines"] = [{"address": one, "models": ["net", "other"]} for one in addresses]

    def have(self, package: str, version: str) -> None:
        """Let a package be installed in that version."""
        others = metadata.version
        self.monkeypatch.setattr(
            machine, "version", lambda name: version if name == package else others(name)
        )

    def write(self, name: str, content: object, mode: int = 0o600) -> Path:
        """A YAML file beside the configuration."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(content))
        path.chmod(mode)
        return path

    def told(self) -> list[Told]:
        """What the doctor says of it."""
        config = self.folder / "gateway.yaml"
        if not config.exists():
            self.write("gateway.yaml", self.settings)
        return examine(config, self.environ)

    def found(self) -> list[tuple[str, str]]:
        """Check and severity of what is not well."""
        return [(one.check, one.finding.severity.value) for one in self.told() if one.finding.why]


def until(world: World, *, days: float) -> None:
    """Let the token end so many days from now."""
    world.settings["tokens"][0]["expires"] = (datetime.now(UTC) + timedelta(days)).isoformat()


def other_user_may_write(path: Path) -> None:
    """Let everybody change it."""
    path.chmod(path.stat().st_mode | 0o002)


def no_tokens(world: World) -> None:
    """Take the tokens away."""
    world.settings["tokens"] = []


def guessable(world: World, secret: str) -> None:
    """Make the secret a word."""
    world.settings["tokens"][0]["sha256"] = sha256(secret.encode())


def with_tokens_file(world: World, mode: int) -> None:
    """Keep a token in a file of that mode."""
    entries = [{"name": "more", "sha256": sha256(b"another secret")}]
    world.settings["tokens_file"] = str(world.write("tokens.yaml", entries, mode))


def reachable(world: World, *, tls: bool = True, **settings: object) -> None:
    """Bind beyond this machine."""
    world.settings |= {"host": BEYOND, **settings}
    if tls:
        world.certify()


def alter(world: World) -> None:
    """Change a byte of the archive."""
    with (world.store / "net.mar").open("ab") as archive:
        archive.write(b"\0")


def add_unlisted(world: World) -> None:
    """Put a copy beside the archive."""
    shutil.copy(world.store / "net.mar", world.store / "stranger.mar")


def add_broken(world: World) -> None:
    """List a file that is no archive."""
    (world.store / "net.mar").write_bytes(b"no zip")
    (world.store / "SHA256SUMS").write_text(f"{sha256(b'no zip')}  net.mar\n")


def forget(world: World) -> None:
    """Remove the archive, and leave it on the list."""
    world.add_archive(name="other")
    (world.store / "net.mar").unlink()


def empty(world: World) -> None:
    """Remove all that is in the store."""
    for path in world.store.iterdir():
        path.unlink()


def fill(world: World, free: int) -> None:
    """Leave so many bytes on every disk."""
    world.monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))


def plant(world: World) -> None:
    """Put a link where the audit goes."""
    (world.run_dir / "audit.jsonl").symlink_to(world.folder / "elsewhere")


def open_audit(world: World) -> None:
    """Let others read the audit."""
    (world.run_dir / "audit.jsonl").touch()
    (world.run_dir / "audit.jsonl").chmod(0o644)


def run_dir_is_no_folder(world: World) -> None:
    """Put a file in its place."""
    world.run_dir.rmdir()
    world.run_dir.write_text("")


def no_java(world: World) -> None:
    """Find none."""

    def find(_environ: object) -> Path:
        raise UnavailableError("TorchServe needs Java 17 or newer")

    world.monkeypatch.setattr(machine, "find_java", find)


def no_torchserve(world: World) -> None:
    """Have it not installed."""
    others = metadata.version

    def version(name: str) -> str:
        if name == "torchserve":
            raise metadata.PackageNotFoundError(name)
        return others(name)

    world.monkeypatch.setattr(machine, "version", version)


def need_gpu(world: World, *devices: str, hidden: bool = False) -> None:
    """Ask for a GPU on a machine with those devices."""
    folder = world.folder / "dev"
    folder.mkdir()
    for device in devices:
        (folder / device).touch()
    world.monkeypatch.setattr(machine, "DEVICES", folder)
    world.environ |= {"ATTNSERVE_REQUIRE_GPU": "1"} | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})


def attempts(world: World, **settings: float) -> None:
    """Set how engines are called."""
    world.settings["attempts"] = settings


def on_postgres(world: World, port: int, *, mode: int = 0o600, keys: str = "") -> dict[str, Any]:
    """Keep experiments in a PostgreSQL at that port of loopback; gives the settings."""
    path = world.folder / "keys.yaml"
    path.write_text(keys or f"unit_key: {'a' * 64}\ntoken_keys: [{'b' * 64}]\n")
    path.chmod(mode)
    url = f"postgresql+psycopg://me:hidden@127.0.0.1:{port}/experiments"
    world.settings["experiments"] = {"store_url": url, "keys_file": str(path)}
    return world.settings
