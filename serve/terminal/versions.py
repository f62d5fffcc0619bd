"""Experiments and their versions for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml
from rich.console import Console

from serve.core.experiment import Design
from serve.reporting.words import STATES
from serve.terminal.saying import say, table

Json = Mapping[str, Any]
_DESIGN = tuple(Design.model_fields)
_DEFAULTS = {
    name: field.get_default() for name, field in Design.model_fields.items() if not field.is_required()
}
# Of a value that has changed, in characters.
_MOST_SHOWN = 60


def show_list(console: Console, experiments: Sequence[Json]) -> None:
    """Print a line an experiment."""
    cells = [
        (
            found["name"],
            found["state"],
            found["mode"],
            found["primary_metric"],
            ", ".join(f"{arm['name']} ({arm['model']}:{arm['version']})" for arm in found["arms"]),
            share(found["ramp"]),
            str(found["version"]),
        )
        for found in experiments
    ]
    table(console, ("name", "state", "mode", "metric", "arms", "enrolled", "version"), cells)


def show_design(console: Console, experiment: Json) -> None:
    """Print a version as YAML that `create` and `edit` can read; what is not of the design is a comment."""
    for line in (
        f"# {STATES.get(experiment['state'], experiment['state'])}; version {experiment['version']}",
        f"# {_by(experiment)}",
        f"# digest {experiment['digest']}",
    ):
        print_plain(console, line)
    print_plain(console, as_yaml(experiment).rstrip())


def as_yaml(experiment: Json) -> str:
    """The design of a version, without what is left at its default."""
    design = {name: experiment[name] for name in _DESIGN if name in experiment}
    plain = {name: _bare(value) for name, value in design.items() if not _is_default(name, value)}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def show_change(console: Console, experiment: Json) -> None:
    """Print what came of a change: where the experiment stands, and from when."""
    begins = moment(experiment["effective_at"])
    left = begins - time.time()
    when = f"from {experiment['effective_at']} on" + (f" (in {left:.1f} s)" if left > 0 else "")
    winner = f", {experiment['winner']!r} answers everybody" if experiment.get("winner") else ""
    state = STATES.get(experiment["state"], experiment["state"])
    say(console, f"{experiment['name']}: {state}{winner}; version {experiment['version']}, {when}")


def show_audit(console: Console, versions: Sequence[Json]) -> None:
    """Print who changed what, when and why, oldest first."""
    columns = ("version", "at", "act", "state", "by", "reason", "changed")
    cells = [
        (
            str(version["version"]),
            version["created_at"],
            version["act"],
            version["state"],
            version["author"],
            version["reason"],
            "; ".join(_changes(before, version)),
        )
        for before, version in zip((None, *versions), versions, strict=False)
    ]
    table(console, columns, cells)


def show_assignment(console: Console, found: Json, *, explain: bool) -> None:
    """Print what a unit gets, and with `explain` why, question by question."""
    model = f"{found['model']}:{found['model_version']}"
    say(console, f"{found['arm']} ({model}), assignment {found['assignment']}")
    if not explain:
        return
    say(console, found["sentence"])
    cells = [
        (
            check["question"],
            check["salt"],
            str(check["bucket"]),
            f"{check['start']}..{check['stop'] - 1}" if check["stop"] > check["start"] else "nothing",
            "yes" if check["passed"] else "no",
        )
        for check in found["checks"]
    ]
    table(console, ("question", "salt", "bucket", "yes for", "answer"), cells)


def moment(text: str) -> float:
    """Unix time of a time as REST writes it."""
    return datetime.fromisoformat(text).timestamp()


def share(part: int) -> str:
    """A part of 10 000, in percent."""
    return f"{part / 100:g} %"


def print_plain(console: Console, line: str) -> None:
    """Print a line that programs may read: never wrapped."""
    console.print(line, markup=False, soft_wrap=True)


def _bare(value: object) -> object:
    """The value, and if it is a list of objects each without what it leaves open."""
    if not isinstance(value, list):
        return value
    return [
        {name: inner for name, inner in part.items() if inner not in (None, {})}
        if isinstance(part, Mapping)
        else part
        for part in value
    ]


def _by(experiment: Json) -> str:
    what = f"{experiment['act']} by {experiment['author']} at {experiment['created_at']}"
    return f"{what}: {' '.join(experiment['reason'].split())}"


def _is_default(name: str, value: object) -> bool:
    if name not in _DEFAULTS:
        return False
    default = _DEFAULTS[name]
    return value == (list(default) if isinstance(default, tuple) else default)


def _changes(before: Json | None, after: Json) -> Iterator[str]:
    if before is None:
        return
    for name in _DESIGN:
        if before.get(name) != after.get(name):
            yield f"{name}: {_short(name, before.get(name))} -> {_short(name, after.get(name))}"


def _short(name: str, value: object) -> str:
    if name == "arms" and isinstance(value, list):
        return ", ".join(f"{arm['name']} {arm.get('weight')}" for arm in value)
    text = "none" if value in (None, "", []) else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
