"""`attnserve models` against a gateway that is only what it says of its models."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console

from serve.client import ClientError, Reply
from serve.model_list import list_models, show

TOLD = {
    "new": {"recipe": "cpu-bf16", "recipe_reasons": '["cpu-fused: no"]'},
    "old": {"attention": "se"},
}


class Gateway:
    """A client: two models of which one's worker says its recipe, one that has just gone, an experiment."""

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        """Nobody asks."""
        raise NotImplementedError

    async def index(self) -> list[dict[str, str]]:
        """The repository's index."""
        ready = {"new": "1", "old": "2", "gone": "1", "test": ""}
        found = [
            {"name": name, "version": version, "state": "READY", "reason": ""}
            for name, version in ready.items()
        ]
        return [*found, {"name": "ill", "version": "1", "state": "UNAVAILABLE", "reason": ""}]

    async def properties(self, model: str, version: str) -> Mapping[str, str]:
        """Asked only of versions that are ready."""
        assert (model, version) in {("new", "1"), ("old", "2"), ("gone", "1")}
        if model == "gone":
            raise ClientError("gone")
        return TOLD[model]


async def test_each_model_has_its_recipe_where_a_worker_says_it() -> None:
    """Whoever does not say it, or has gone meanwhile, is listed without."""
    found = {one.name: (one.recipe, one.recipe_reasons) for one in await list_models(Gateway())}
    assert found.pop("new") == ("cpu-bf16", ("cpu-fused: no",))
    assert found == dict.fromkeys(("old", "gone", "ill", "test"), ("", ()))


async def test_the_recipe_is_the_last_column() -> None:
    """So that programs that cut the others find them where they were."""
    page = io.StringIO()
    show(Console(file=page), await list_models(Gateway()))
    head, first, *_ = page.getvalue().splitlines()
    assert head.split("\t") == ["name", "version", "state", "reason", "recipe"]
    assert first.split("\t") == ["new", "1", "READY", "", "cpu-bf16"]
