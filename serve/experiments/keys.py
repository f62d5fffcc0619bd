"""The secrets of experiments: one that hides units, and one or two that sign feedback tokens.

The file is YAML::

    unit_key: 64 hexadecimal digits     # never changes while an experiment runs, or every unit is a new one
    token_keys: [64 hexadecimal digits] # the first signs, a second one is still accepted: for rotation
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.core.feedback import FeedbackKeys, unit_hash

MODE = 0o600
_BYTES = 32

_Secret = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class KeysError(ValueError):
    """The file cannot be used; the operator's fault. The message never shows a key."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    unit_key: _Secret
    token_keys: Annotated[tuple[_Secret, ...], Field(min_length=1, max_length=2)]


class Keys:
    """The keys in force; none before the first `replace`."""

    def __init__(self) -> None:
        """Know no keys yet."""
        self._unit_key = b""
        self._tokens: FeedbackKeys | None = None

    @property
    def tokens(self) -> FeedbackKeys:
        """Sign and read feedback tokens."""
        assert self._tokens is not None, "keys are read before the first request"  # noqa: S101  our own invariant
        return self._tokens

    def replace(self, content: bytes, source: str) -> None:
        """Take keys into force; of those in force already the unit_key must be the same.

        Args:
            content: Of a keys file.
            source: Its name, for messages.

        Raises:
            KeysError: It is no such file, or its unit_key is another one.
        """
        file = _read(content, source)
        unit_key = bytes.fromhex(file.unit_key)
        if self._unit_key not in (b"", unit_key):
            raise KeysError(f"{source}: unit_key has changed: every unit would be a new one")
        self._unit_key, self._tokens = unit_key, _tokens(file)

    def unit_hash(self, unit: str) -> str:
        """What is kept of a unit: 32 hexadecimal digits."""
        return unit_hash(self._unit_key, unit)


def make(path: Path) -> None:
    """Make a keys file where there is none.

    Raises:
        OSError: It cannot be written.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"unit_key": secrets.token_hex(_BYTES), "token_keys": [secrets.token_hex(_BYTES)]}
        partial = path.with_suffix(f".{secrets.token_hex(8)}")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            yaml.safe_dump(document, stream)
        try:
            os.link(partial, path)  # of several gateways that start at once, one wins
        except FileExistsError:
            pass
        finally:
            partial.unlink()


def _read(content: bytes, source: str) -> _File:
    try:
        return _File.model_validate(yaml.safe_load(content))
    except yaml.YAMLError:
        raise KeysError(f"{source}: is not YAML") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise KeysError(f"{source}: {problems}") from None


def _tokens(file: _File) -> FeedbackKeys:
    return FeedbackKeys(tuple(bytes.fromhex(key) for key in file.token_keys))
