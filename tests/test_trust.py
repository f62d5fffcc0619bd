"""What a configuration says of tokens and certificates is what is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from serve.config import ConfigError
from serve.core.access import Role
from serve.experiments.keys import make
from serve.metrics import Metrics
from serve.settings import Config
from serve.trust import Trust, check
from tests.pki import Authority

AUTHORITY = Authority()


def entry(name: str, secret: str, **more: object) -> dict[str, object]:
    """A token as a file has it."""
    return {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), **more}


def trust(settings: Mapping[str, object]) -> Trust:
    """Of a gateway that starts."""
    config = Config.model_validate({"experiments": {"enabled": False}, **settings})
    made = Trust(config, Metrics(CollectorRegistry()), lambda _what, _why: None)
    made.reloader.load()
    return made


def tls(folder: Path) -> dict[str, str]:
    """A good certificate and its key."""
    pair = AUTHORITY.server()
    (folder / "certificate.pem").write_bytes(pair.certificate)
    (folder / "key.pem").write_bytes(pair.key)
    return {name: str(folder / f"{name}.pem") for name in ("certificate", "key")}


def test_tokens_keep_role_and_limit(tmp_path: Path) -> None:
    """Those of the configuration and those of the file, from the start."""
    file = tmp_path / "tokens.yaml"
    file.write_text(yaml.safe_dump([entry("slow", "s", max_images_per_s=2.5)]))
    access = trust({"tokens": [entry("ops", "o", role="operate")], "tokens_file": str(file)}).access
    assert access.authorize("Bearer o", Role.OPERATE) == "ops"
    assert access.authorize("Bearer s", Role.INFER) == "slow"
    assert [access.limit_of(name) for name in ("ops", "slow", "nobody")] == [None, 2.5, None]


def test_without_tokens_and_certificates_it_is_open() -> None:
    """There is no TLS then, either."""
    made = trust({})
    assert made.access.authorize(None, Role.ADMIN) == "anonymous"
    assert made.certificates is None


@pytest.mark.parametrize("role", list(Role))
def test_a_callers_certificate_has_the_role_of_the_configuration(tmp_path: Path, role: Role) -> None:
    """And no more."""
    authority = tmp_path / "callers.pem"
    authority.write_bytes(AUTHORITY.pem)
    files = tls(tmp_path) | {"client_ca": str(authority), "client_role": role.name.lower()}
    made = trust({"tls": files})
    assert made.access.authorize(None, role, "ci") == "ci"
    assert made.access.certified is role
    assert made.certificates is not None


def test_keys_of_experiments_are_read_and_checked(tmp_path: Path) -> None:
    """Those of the file that the operator names; one that is no good is named, before the start, too."""
    file = tmp_path / "keys.yaml"
    settings = {"experiments": {"keys_file": str(file)}}
    make(file)
    assert len(trust(settings).keys.unit_hash("someone")) == 32
    check(Config.model_validate(settings))
    file.write_text("unit_key: short")
    with pytest.raises(ValueError, match=r"keys.yaml: unit_key"):
        trust(settings)
    with pytest.raises(ConfigError, match=r"keys.yaml: unit_key"):
        check(Config.model_validate(settings))


def test_files_are_checked_without_starting(tmp_path: Path) -> None:
    """Good ones pass; each bad one is named, as at the start."""
    files, tokens = tls(tmp_path), tmp_path / "tokens.yaml"
    tokens.write_text(yaml.safe_dump([entry("ci", "c")]))
    settings = {"tls": files, "tokens_file": str(tokens)}
    check(Config.model_validate(settings))
    tokens.write_text("[]")
    with pytest.raises(ConfigError, match="at least 1 item"):
        check(Config.model_validate(settings))
    Path(files["key"]).write_bytes(AUTHORITY.server().key)
    with pytest.raises(ConfigError, match="not the key of"):
        check(Config.model_validate({"tls": files}))
    Path(files["certificate"]).unlink()
    with pytest.raises(ConfigError, match=r"certificate\.pem: cannot be read: No such file"):
        check(Config.model_validate({"tls": files}))


def test_an_address_of_the_store_that_is_none_is_refused_before_the_start(tmp_path: Path) -> None:
    """Without what stands in it: there may be a password."""
    keys = tmp_path / "keys.yaml"
    make(keys)
    url = "postgresql+psycopg://me:hidden@host:port/experiments"
    config = Config.model_validate({"experiments": {"store_url": url, "keys_file": str(keys)}})
    with pytest.raises(ConfigError, match=r"^experiments\.store_url: ") as told:
        check(config)
    assert "hidden" not in str(told.value)
