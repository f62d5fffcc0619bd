"""Where experiments are kept: what an address may look like, and what becomes of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serve.sections import ExperimentsConfig


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_an_operators_address_is_taken_as_it_stands(scheme: str) -> None:
    """The secret of a database operator says postgresql:// or postgres://, and names no driver."""
    place = "ana:p%40ss@db.example:5432/experiments?sslmode=require"
    config = ExperimentsConfig(store_url=f"{scheme}://{place}")
    assert config.store_url == f"postgresql+psycopg://{place}"


@pytest.mark.parametrize("url", ["", "sqlite:////var/lib/experiments.db"])
def test_other_addresses_stay(url: str) -> None:
    """A file is a file, and nothing is the default."""
    assert ExperimentsConfig(store_url=url).store_url == url


@pytest.mark.parametrize("url", ["mysql://ana:secret@db/x", "postgres:ana:secret@db/x", "secret"])
def test_what_is_neither_is_refused_without_its_text(url: str) -> None:
    """There may be a password in it."""
    with pytest.raises(ValidationError) as refused:
        ExperimentsConfig(store_url=url)
    (error,) = refused.value.errors()
    assert error["msg"] == "Value error, must begin with sqlite:/// or postgresql://"
