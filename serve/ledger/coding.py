"""Experiments and aliases as rows of the ledger, and the digests that chain these rows.

Texts that people search by have columns; the rest of an experiment is one JSON document. Both ways are
strict: what cannot be read back as the same is not written, and a row with anything unknown is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from serve.core.errors import InternalError, InvalidRequestError
from serve.core.experiment import Alias, Design, Experiment, Range, State
from serve.ledger.database import LedgerError

# Columns that hold what an experiment's version has under the same name.
_SAME = ("seq", "number", "effective_at", "created_at", "act", "author", "reason")
_OF_ALIAS = ("seq", "name", "number", "target", "effective_at", "author", "reason")
_TIMES = frozenset({"effective_at", "created_at"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """What stands in the column `document`; an allocation is one (start, stop, arm) a range."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    design: Design
    phase: int
    phases: tuple[tuple[int, ...], ...]
    allocation: tuple[tuple[int, int, int], ...]
    labels: tuple[str, ...]
    translations: tuple[tuple[int, ...], ...]
    winner: int | None


_DOCUMENT = TypeAdapter(_Document)


def experiment_row(version: Experiment) -> Row:
    """The columns of `experiment_version`, without the digest.

    Raises:
        InvalidRequestError: A text holds characters that cannot be kept.
    """
    document = _Document(
        design=version.design,
        phase=version.phase,
        phases=version.phases,
        allocation=tuple((part.start, part.stop, part.arm) for part in version.allocation),
        labels=version.labels,
        translations=version.translations,
        winner=version.winner,
    )
    row = _columns(version, _SAME) | {
        "experiment_id": version.id,
        "state": version.state.value,
        "document": canonical(_DOCUMENT.dump_python(document, mode="json", warnings=False)),
    }
    _check_texts(row)
    _check_the_same(version, experiment_of({**row, "digest": version.digest}))
    return row


def experiment_of(row: Mapping[str, Any]) -> Experiment:
    """The version in a row of `experiment_version`.

    Raises:
        LedgerError: This program does not understand the row.
    """
    try:
        document = _DOCUMENT.validate_json(row["document"], strict=True)
        state = State(row["state"])
    except (ValidationError, ValueError) as error:
        raise LedgerError(
            f"the experiment store has a version, seq {row['seq']}, that this attnserve does not understand; "
            "a newer one may have written it",
            detail=str(error),
        ) from error
    return Experiment(
        id=row["experiment_id"],
        design=document.design,
        state=state,
        phase=document.phase,
        phases=document.phases,
        allocation=tuple(Range(start=start, stop=stop, arm=arm) for start, stop, arm in document.allocation),
        labels=document.labels,
        translations=document.translations,
        winner=document.winner,
        digest=row["digest"],
        **{name: row[name] for name in _SAME},
    )


def alias_row(version: Alias) -> Row:
    """The columns of `alias_version`, without the digest.

    Raises:
        InvalidRequestError: A text holds characters that cannot be kept.
    """
    row = _columns(version, _OF_ALIAS)
    _check_texts(row)
    return row


def alias_of(row: Mapping[str, Any]) -> Alias:
    """The version in a row of `alias_version`."""
    return Alias(**{name: row[name] for name in _OF_ALIAS})


def digest_of(row: Mapping[str, Any], previous: str) -> str:
    """What chains a row to the one before it: SHA-256 (hexadecimal) of `canonical` of its other columns.

    Args:
        row: All columns; one that is called "digest" does not count.
        previous: The digest of the version before, "" for the first.
    """
    content = {name: value for name, value in row.items() if name != "digest"}
    return hashlib.sha256(canonical({**content, "previous": previous}).encode("ascii")).hexdigest()


def canonical(value: object) -> str:
    """JSON of which there is only one for one value: sorted names, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _columns(version: Experiment | Alias, names: Sequence[str]) -> Row:
    # A whole number of seconds comes back from the database as a float, which JSON writes otherwise.
    row: Row = {name: getattr(version, name) for name in names}
    return {name: float(value) if name in _TIMES else value for name, value in row.items()}


def _check_texts(row: Row) -> None:
    """PostgreSQL keeps no NUL, and no encoding has half a surrogate pair."""
    for name, value in row.items():
        if isinstance(value, str) and any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in value):
            raise InvalidRequestError(f"{name}: is {value!r}, must not hold NUL or half a surrogate pair")


def _check_the_same(version: Experiment, read: Experiment) -> None:
    if read != version:
        raise InternalError(f"experiment {version.name!r}: version {version.number} cannot be kept as it is")
