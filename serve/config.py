"""Configuration: one YAML file, overridden by ATTNSERVE_* variables, read once into frozen values.

The variable of `batching.max_queue_delay_ms` is ATTNSERVE_BATCHING_MAX_QUEUE_DELAY_MS, and so on.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from serve.sections import Section, TokenConfig, check_tokens
from serve.settings import Config

S = TypeVar("S", bound=Section)

PREFIX = "ATTNSERVE_"
# Set by the worker's side or by the CLI, not settings of the gateway.
FOREIGN_VARIABLES = frozenset({"ATTNSERVE_RECIPE", "ATTNSERVE_REQUIRE_GPU", "ATTNSERVE_TOKEN"})


class ConfigError(ValueError):
    """The configuration breaks a rule; the operator's fault, the message names key, value and rule."""


def read_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file and the variables into frozen values.

    Args:
        path: The YAML file; None means defaults only. A key without a value counts as not set.
        environment: The process's variables; an empty one counts as not set.

    Raises:
        ConfigError: A key is unknown or a value breaks its rule; every one is named.
    """
    data = {} if path is None else _load(_read(path), path, dict)
    for keys, value in _overrides(environment):
        _put(data, keys, value)
    data = {key: value for key, value in data.items() if value is not None or key not in Config.model_fields}
    config = _validated(Config, data, path or "configuration")
    if config.tokens_file:
        tokens_in_force(config, _read(config.tokens_file))
    return config


class _TokensFile(Section):
    tokens: tuple[TokenConfig, ...] = Field(min_length=1)


def tokens_in_force(config: Config, content: bytes) -> tuple[TokenConfig, ...]:
    """The tokens of the configuration itself, then those of its tokens_file.

    Args:
        config: Names the file.
        content: What the file holds now. It lists at least one token, so that a file which was emptied by
            mistake does not open the gateway to everybody.

    Raises:
        ConfigError: A token breaks a rule, or two of them disagree.
    """
    path = config.tokens_file or "tokens_file"
    more = _validated(_TokensFile, {"tokens": _load(content, path, list)}, path).tokens
    tokens = (*config.tokens, *more)
    try:
        check_tokens(tokens)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return tokens


def _validated(kind: type[S], data: object, where: Path | str) -> S:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {_explain(detail)}" for detail in error.errors())) from None


def settings(section: type[BaseModel] = Config, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting's path: ("http_port",), ("batching", "max_queue_delay_ms"), ..."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, (*keys, name))
        else:
            yield (*keys, name)


def _overrides(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], object]]:
    known = {"_".join(keys).upper(): keys for keys in settings()}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in FOREIGN_VARIABLES or not text:
            continue
        setting = name.removeprefix(PREFIX)
        if setting not in known:
            raise ConfigError(f"variable {name} is not a setting{_nearest(setting, known, PREFIX)}")
        # Lists are written as in the file; everything else is read by its setting's type.
        yield known[setting], _parse(text, f"variable {name}") if text[0] in "[{" else text


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _load(content: bytes, path: Path | str, kind: type[Any]) -> Any:  # noqa: ANN401  whatever YAML holds; checked by pydantic
    try:
        data = _parse(content.decode(), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    if data is None:
        return kind()
    if not isinstance(data, kind):
        expected = "mapping" if kind is dict else "list"
        raise ConfigError(f"{path}: expected a {expected} at the top, got {type(data).__name__}")
    return data


def _parse(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        # Not its own text, which quotes the line: there may be a secret in it.
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{where}: line {line} is not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{where}: is not YAML: it holds characters that YAML does not allow") from None
    except ValueError as error:  # text of the form of a date is read as one
        raise ConfigError(f"{where}: holds a date that there is not: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested too deeply") from None


def _put(data: dict[str, Any], keys: tuple[str, ...], value: object) -> None:
    for key in keys[:-1]:
        # What is no mapping there is overridden whole.
        section = data[key] = dict(data[key]) if isinstance(data.get(key), dict) else {}
        data = section
    data[keys[-1]] = value


def _explain(detail: ErrorDetails) -> str:
    where = ".".join(str(key) for key in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{_meant(detail['loc'])}"
    message = detail["msg"].removeprefix("Value error, ")
    if not where:
        return message
    # A secret may stand where a digest or a token should, or where a file should that holds it.
    first, last = detail["loc"][0], detail["loc"][-1]
    private = first in ("tokens", "tokens_file", "tls") or last in ("store_url", "endpoint", "grafana_url")
    secret = private and last not in ("name", "role", "expires", "client_role")
    return f"{where}: {message}" if secret else f"{where}: {message}, got {detail['input']!r}"


def _meant(loc: Sequence[int | str]) -> str:
    """The key that was meant: of that name in another section, or of a similar name in this one."""
    name = str(loc[-1])
    elsewhere = [".".join(keys) for keys in settings() if keys[-1] == name]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else _nearest(name, _section(loc[:-1]).model_fields)


def _section(loc: Sequence[int | str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for key in loc:
        if isinstance(key, str):  # a number is a place in a list
            kind = section.model_fields[key].annotation
            kinds = [kind for kind in (kind, *get_args(kind)) if isinstance(kind, type)]
            section = next(kind for kind in kinds if issubclass(kind, BaseModel))
    return section


def _nearest(name: str, known: Collection[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
