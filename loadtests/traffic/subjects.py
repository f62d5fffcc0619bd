"""What a gateway says of the models that are to be asked, read over REST."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import httpx

from loadtests.bearer import bearer
from loadtests.traffic.questions import Subject

TIMEOUT_S: Final = 10.0
INPUT: Final = "input"  # the tensor whose shape, [N,3,H,W], tells the model's size

Json: TypeAlias = dict[str, Any]


class SubjectError(Exception):
    """A model cannot be asked about itself, or says too little; the message names it."""


def read_subjects(url: str, names: Sequence[str], token: str = "") -> tuple[Subject, ...]:
    """Read the metadata of models, aliases and experiments.

    Args:
        url: http://host:port of REST.
        names: Whose; at least one.
        token: Of the caller; "" where none is needed.

    Raises:
        SubjectError: The gateway does not answer, or one of them cannot be asked.
    """
    if not names or "" in names:
        raise SubjectError(f"models: names one or more by comma, got {','.join(names)!r}")
    try:
        with httpx.Client(base_url=url, headers=bearer(token), timeout=TIMEOUT_S, trust_env=False) as client:
            behind = _behind(client)
            return tuple(_subject(client, name, behind) for name in names)
    except httpx.HTTPError as error:
        raise SubjectError(f"{url}: does not answer: {str(error) or type(error).__name__}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SubjectError(f"{url}: does not answer as an attnserve does: {error!r}") from None


def _subject(client: httpx.Client, name: str, behind: Mapping[str, Sequence[str]]) -> Subject:
    path = f"/v2/models/{quote(name, safe='')}"
    metadata, config = _document(client, path, name), _document(client, f"{path}/config", name)
    shapes = {tensor["name"]: tensor["shape"] for tensor in metadata["inputs"]}
    _, _, height, width = shapes[INPUT]
    return Subject(
        name=name,
        labels=tuple(json.loads(metadata["properties"]["labels"])),
        input_size=(height, width),
        max_batch=config["max_batch_size"],
        served_by=_served_by(name, behind),
    )


def _document(client: httpx.Client, path: str, name: str) -> Json:
    response = client.get(path)
    if not response.is_success:
        raise SubjectError(f"model {name!r}: {_error(response)}")
    document: Json = response.json()
    return document


def _error(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (KeyError, TypeError, ValueError):
        return f"{response.status_code} {response.reason_phrase}"


def _behind(client: httpx.Client) -> Mapping[str, Sequence[str]]:
    """What answers for each alias and experiment, one step on: nothing where there are no experiments."""
    experiments, aliases = client.get("/v1/experiments"), client.get("/v1/aliases")
    if not experiments.is_success or not aliases.is_success:
        return {}
    arms = {one["name"]: [arm["model"] for arm in one["arms"]] for one in experiments.json()["experiments"]}
    # A target may be a model with its version, "NAME:1".
    targets = {one["name"]: [one["target"].partition(":")[0]] for one in aliases.json()["aliases"]}
    return arms | targets


def _served_by(name: str, behind: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The models at the end, each once."""
    if name not in behind:
        return (name,)
    return tuple(dict.fromkeys(model for step in behind[name] for model in _served_by(step, behind)))
