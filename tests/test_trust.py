"""What a configuration says of tokens and certificates is what is in force."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from serve.cli import app
from serve.config import ConfigError, read_config
from serve.core.access import Role
from serve.core.errors import UnauthenticatedError
from serve.experiments.keys import make
from serve.metrics import Metrics
from serve.sections import TokenConfig
from serve.settings import Config
from serve.trust import Trust, check
from tests.pki import Authority

AUTHORITY = Authority()
NOW = 1_800_000_000.0


def entry(name: str, secret: str, **more: object) -> dict[str, object]:
    """A token as a file has it."""
    return {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), **more}


def trust(settings: Mapping[str, object], registry: CollectorRegistry | None = None) -> Trust:
    """Of a gateway that starts."""
    config = Config.model_validate({"experiments": {"enabled": False}, **settings})
    made = Trust(config, Metrics(registry or CollectorRegistry()), lambda _what, _why: None)
    made.reloader.load()
    return made


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """When tokens end, by name, as the metrics page has it."""
    name = "attnserve_token_expires_timestamp_seconds"
    samples = (sample for family in registry.collect() for sample in family.samples)
    return {sample.labels["token"]: sample.value for sample in samples if sample.name == name}


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
    assert access.authorize("Bearer o", Role.OPERATE, now=NOW) == "ops"
    assert access.authorize("Bearer s", Role.INFER, now=NOW) == "slow"
    assert [access.limit_of(name) for name in ("ops", "slow", "nobody")] == [None, 2.5, None]


def test_when_tokens_end_is_in_force_and_on_the_metrics_page(tmp_path: Path) -> None:
    """A day in UTC, and never; a token that is gone from its file has no series any more."""
    file = tmp_path / "tokens.yaml"
    registry = CollectorRegistry()
    file.write_text("- " + yaml.safe_dump(entry("ci", "c")).replace("\n", "\n  ") + "expires: 2030-12-31")
    made = trust({"tokens": [entry("ops", "o", role="operate")], "tokens_file": str(file)}, registry)
    ends = 1_924_991_999  # date --utc --date='2030-12-31 23:59:59' +%s
    assert made.access.authorize("Bearer c", Role.INFER, now=ends - 1) == "ci"
    with pytest.raises(UnauthenticatedError, match=r"token 'ci' expired at 2030-12-31T23:59:59\+00:00"):
        made.access.authorize("Bearer c", Role.INFER, now=ends)
    assert shown(registry) == {"ops": math.inf, "ci": ends}
    file.write_text(yaml.safe_dump([entry("cd", "c", expires="2030-12-31T18:00:00+02:00")]))
    made.reloader.load()
    assert shown(registry) == {"ops": math.inf, "cd": ends + 1 - 8 * 3600}


def test_a_token_that_has_expired_does_not_keep_a_gateway_from_starting() -> None:
    """It is refused, and nobody else comes in for it."""
    made = trust({"tokens": [entry("ci", "c", expires="2020-01-01")]})
    for header in (None, "Bearer c"):
        with pytest.raises(UnauthenticatedError):
            made.access.authorize(header, Role.INFER, now=NOW)


@pytest.mark.parametrize("day", ["2030-02-30", "soon", "90", "2030-12-31T18:00:00"])
def test_an_end_that_is_none_is_named(tmp_path: Path, day: str) -> None:
    """With key and rule, and with what stands there; the digest beside it is not shown."""
    file = tmp_path / "gateway.yaml"
    digest = hashlib.sha256(b"c").hexdigest()
    file.write_text(f"tokens: [{{name: ci, sha256: {digest}, expires: {day}}}]")
    with pytest.raises(
        ConfigError, match=r"tokens\.0\.expires: must be a date|a date that there is not"
    ) as told:
        read_config(file, {})
    assert digest not in str(told.value)


def test_the_command_makes_a_token_with_an_end() -> None:
    """What it prints is an entry as the configuration takes it; its last day is the one in 90 days."""
    first = datetime.now(UTC).date()
    printed = CliRunner().invoke(app, ["token", "ci", "--role", "operate", "--days", "90"]).stdout
    (made,) = yaml.safe_load(printed.splitlines()[-1])
    # Midnight may have come between.
    assert made["expires"] in {day + timedelta(90) for day in (first, datetime.now(UTC).date())}
    assert TokenConfig.model_validate(made).kept.role is Role.OPERATE
    assert "expires" not in CliRunner().invoke(app, ["token", "ci"]).stdout
    assert CliRunner().invoke(app, ["token", "ci", "--days", "0"]).exit_code == 2


def test_without_tokens_and_certificates_it_is_open() -> None:
    """There is no TLS then, either."""
    made = trust({})
    assert made.access.authorize(None, Role.ADMIN, now=NOW) == "anonymous"
    assert made.certificates is None


@pytest.mark.parametrize("role", list(Role))
def test_a_callers_certificate_has_the_role_of_the_configuration(tmp_path: Path, role: Role) -> None:
    """And no more."""
    authority = tmp_path / "callers.pem"
    authority.write_bytes(AUTHORITY.pem)
    files = tls(tmp_path) | {"client_ca": str(authority), "client_role": role.name.lower()}
    made = trust({"tls": files})
    assert made.access.authorize(None, role, "ci", now=NOW) == "ci"
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
