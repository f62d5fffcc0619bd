"""Keys: the secrets of experiments, from a file that an operator writes or the gateway makes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from serve.core.feedback import UnknownTokenError
from serve.core.record import Said, Ticket
from serve.experiments.keys import Keys, KeysError, make

UNIT_KEY, OLD, NEW = "1" * 64, "2" * 64, "3" * 64
TICKET = Ticket(
    experiment=1,
    version=2,
    phase=0,
    prediction="a" * 32,
    unit="b" * 32,
    arm=1,
    issued_at=1_700_000_000,
    answers=(Said(top1=7, confidence=9000),),
)


def content(*token_keys: str, unit_key: str = UNIT_KEY) -> bytes:
    """A keys file."""
    return f"unit_key: '{unit_key}'\ntoken_keys: {list(token_keys)}\n".encode()


def in_force(given: bytes) -> Keys:
    """Keys of a file."""
    keys = Keys()
    keys.replace(given, "keys.yaml")
    return keys


def test_tokens_survive_a_rotation_and_not_two() -> None:
    """The first key signs, the second is still read; a key that is gone is not."""
    keys = in_force(content(OLD))
    token = keys.tokens.sign(TICKET)
    keys.replace(content(NEW, OLD), "keys.yaml")
    assert keys.tokens.read(token) == TICKET
    assert keys.tokens.sign(TICKET) != token
    keys.replace(content(NEW), "keys.yaml")
    with pytest.raises(UnknownTokenError):
        keys.tokens.read(token)


def test_a_unit_has_one_name_whatever_the_token_keys() -> None:
    """It depends on the unit_key, which cannot be changed while the gateway runs."""
    keys = in_force(content(OLD))
    name = keys.unit_hash("someone@example.com")
    keys.replace(content(NEW, OLD), "keys.yaml")
    assert keys.unit_hash("someone@example.com") == name
    with pytest.raises(KeysError, match=r"keys.yaml: unit_key has changed"):
        keys.replace(content(NEW, unit_key="4" * 64), "keys.yaml")
    assert keys.unit_hash("someone@example.com") == name
    assert in_force(content(OLD, unit_key="4" * 64)).unit_hash("someone@example.com") != name


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"", "keys.yaml"),
        (b"{", "keys.yaml: is not YAML"),
        (b"\xff", "keys.yaml: is not YAML"),
        (content(), "token_keys"),
        (content(OLD, NEW, "4" * 64), "token_keys"),
        (content("secret-that-is-short"), "token_keys.0"),
        (content(OLD) + b"more: 1", "more"),
    ],
)
def test_a_file_that_is_none_is_refused_without_showing_a_key(given: bytes, told: str) -> None:
    """The message names the file and the field, never a value."""
    with pytest.raises(KeysError) as refused:
        in_force(given)
    assert told in str(refused.value)
    assert "secret-that-is-short" not in str(refused.value)


def test_a_gateway_makes_its_file_once_and_for_itself(tmp_path: Path) -> None:
    """Only its owner can read it; a second start uses the same."""
    path = tmp_path / "run" / "keys.yaml"
    make(path)
    first = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    make(path)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["keys.yaml"]
    in_force(first)
