"""Checks of where experiments are kept, and of the secrets that they need."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import make_url

from serve.doctoring.finding import (
    Finding,
    Patient,
    error,
    info,
    readable_by_others,
    warning,
    writable_by_others,
)
from serve.experiments.keys import Keys, KeysError
from serve.ledger.database import Database, LedgerError, told


def store(patient: Patient) -> Iterator[Finding]:
    """Whether it answers, is shared by those who must share it, and gives no password away."""
    config = patient.config
    if not config.experiments.enabled:
        return
    url = make_url(config.experiments_url)
    if url.get_backend_name() == "sqlite":
        if config.engines:
            yield info(
                "experiments are kept in a file, and engines run elsewhere",
                "Gateways on other machines do not see it: each would run experiments of its own.",
                "With more than one gateway set experiments.store_url to a PostgreSQL.",
            )
        return
    if url.password and patient.path is not None and readable_by_others(patient.path):
        yield error(
            f"the configuration, {patient.path}, holds the password of experiments.store_url",
            "Every user of this machine can read it, and change experiments and what came of them.",
            f"chmod o-r {patient.path}, or give the address by ATTNSERVE_EXPERIMENTS_STORE_URL.",
        )
    yield from _answers(config.experiments_url)


def keys(patient: Patient) -> Iterator[Finding]:
    """Whether the keys can be used, by us alone."""
    given, path = patient.config.experiments, patient.config.experiment_keys_path
    if not given.enabled or not (given.keys_file or path.exists()):
        return
    try:
        Keys().replace(path.read_bytes(), str(path))
    except (OSError, KeysError) as problem:
        yield error(
            f"experiments.keys_file: {problem}",
            "The gateway does not start without it.",
            "Put the file there that every gateway of this store has.",
        )
        return
    if readable_by_others(path) or writable_by_others(path):
        yield error(
            f"experiments.keys_file, {path}, is open to every user of this machine",
            "Whoever has it can tell labels of predictions that were never made, and find out units.",
            f"chmod o-rwx {path}, and put a new key first under token_keys.",
        )


def _answers(url: str) -> Iterator[Finding]:
    try:
        database = Database.connect(url)
        try:
            with database.reading():
                pass
        finally:
            database.close()
    except LedgerError as problem:
        yield warning(
            f"experiments.store_url: {told(problem)}",
            "Models answer without it; experiments and aliases do not, until it has answered once.",
            "Start the database, or mend the address, the user or its rights.",
        )
