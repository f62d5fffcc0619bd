"""Directory: what a called name means, and what it says while nobody knows yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.core.errors import ConflictError, NotFoundError, UnavailableError
from serve.experiments.directory import Directory
from tests.experiments.gateway import ANNA, design, gateways


async def test_before_the_ledger_was_read_nobody_is_told_that_a_name_is_unknown(tmp_path: Path) -> None:
    """It may be an alias: its callers shall come back; models answer."""
    async with gateways(tmp_path) as (gateway,):
        directory = Directory(gateway.repository, gateway.plans)
        with pytest.raises(UnavailableError, match="could not be read yet") as told:
            directory.find("production")
        assert told.value.retry_after_s == 1.0
        assert directory.find("digits_se") is gateway.repository.find("digits_se")
        await gateway.poll()
        with pytest.raises(NotFoundError):
            directory.find("production")
        with pytest.raises(NotFoundError):
            Directory(gateway.repository).find("production")


async def test_a_model_is_not_loaded_under_a_name_that_means_something_else(tmp_path: Path) -> None:
    """Its callers would never get it."""
    async with gateways(tmp_path) as (gateway,):
        directory = Directory(gateway.repository, gateway.plans)
        draft = await gateway.desk.create(design(), "why", ANNA)
        await gateway.desk.put_alias("production", "digits_se", "why", None, ANNA)
        with pytest.raises(ConflictError, match="is an experiment's name already"):
            directory.check_model_name(draft.name)
        with pytest.raises(ConflictError, match="is an alias's name already"):
            directory.check_model_name("production")
        directory.check_model_name("digits_new")
        Directory(gateway.repository).check_model_name(draft.name)
