"""What should change in a design, from a file and from words like `keep_images.days=3`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.terminal.files import InputError, parse_yaml


def changes(file: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Put together a merge patch (RFC 7396).

    Args:
        file: What a file names.
        settings: KEY=VALUE, the value as in YAML; a dot in the key leads into an object. They come after the
            file.

    Raises:
        InputError: A setting has another form.
    """
    found = dict(file)
    for setting in settings:
        key, equals, text = setting.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise InputError(f"--set: is {setting!r}, must be KEY=VALUE")
        _put(found, names, parse_yaml(text, f"--set {key.strip()}"))
    return found


def _put(part: dict[str, Any], names: Sequence[str], value: object) -> None:
    for name in names[:-1]:
        inner = part.get(name)
        part[name] = dict(inner) if isinstance(inner, Mapping) else {}
        part = part[name]
    part[names[-1]] = value
