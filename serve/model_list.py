"""What a running gateway serves, as a client finds it out: the index, and the form of each net."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from serve.classify import print_table
from serve.client import Client, ClientError

READY = "READY"
COLUMNS = ("name", "version", "state", "reason", "recipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One line of the list.

    Attributes:
        name: The model's.
        version: "" for an experiment or an alias.
        state: As the repository's index says it.
        reason: Why it is not ready.
        recipe: The form in which the net is served; "" where nobody says.
        recipe_reasons: Why it is served in no other form.
    """

    name: str
    version: str
    state: str
    reason: str
    recipe: str
    recipe_reasons: tuple[str, ...]


async def list_models(client: Client) -> list[ListedModel]:
    """Every version that the gateway knows.

    Raises:
        ClientError: The gateway cannot be reached, or does not say what there is.
    """
    index = await client.index()
    told = await asyncio.gather(*(_properties(client, entry) for entry in index))
    return [_listed(entry, properties) for entry, properties in zip(index, told, strict=True)]


def show(console: Console, found: Sequence[ListedModel]) -> None:
    """Print the list as a table."""
    print_table(console, COLUMNS, [tuple(getattr(one, column) for column in COLUMNS) for one in found])


async def _properties(client: Client, entry: Mapping[str, str]) -> Mapping[str, str]:
    if entry["state"] != READY or not entry["version"]:
        return {}
    try:
        return await client.properties(entry["name"], entry["version"])
    except ClientError:  # it has gone since the index was made
        return {}


def _listed(entry: Mapping[str, str], properties: Mapping[str, str]) -> ListedModel:
    return ListedModel(
        name=entry["name"],
        version=entry.get("version", ""),
        state=entry["state"],
        reason=entry.get("reason", ""),
        recipe=properties.get("recipe", ""),
        recipe_reasons=tuple(json.loads(properties.get("recipe_reasons", "[]"))),
    )
