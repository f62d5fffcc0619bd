"""Configuration: one YAML file, overridden by ATTNSERVE_* variables, read once into frozen values.

Every setting is declared here with its unit in its name and its help text beside it. The variable
of `batching.max_queue_delay_ms` is ATTNSERVE_BATCHING_MAX_QUEUE_DELAY_MS, and so on.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from serve.core.access import Role
from serve.core.messages import MODEL_NAME
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS

PREFIX = "ATTNSERVE_"
# Set by the worker's side or by the CLI, not settings of the gateway.
FOREIGN_VARIABLES = frozenset({"ATTNSERVE_REQUIRE_GPU", "ATTNSERVE_TOKEN"})

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
ModelName = Annotated[str, Field(pattern=f"^{MODEL_NAME}$")]


class ConfigError(ValueError):
    """The configuration breaks a rule; the operator's fault, the message names key, value and rule."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BatchingConfig(_Section):
    """How requests are gathered."""

    max_batch_images: Count = Field(
        default=16, description="Most images in a batch; each model's own limit holds too."
    )
    max_queue_images: Count = Field(
        default=1024, description="Most images that may wait for a model, its channel gates counted apart."
    )
    max_queue_delay_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="How long an idle worker waits for a batch to fill; 0: not at all."
    )
    prefetch_batches: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Full batches handed to a busy worker ahead of time."
    )


class EngineConfig(_Section):
    """A TorchServe that runs elsewhere."""

    address: str = Field(min_length=1, description="host:port of its gRPC inference port.")
    models: tuple[ModelName, ...] = Field(min_length=1, description="Names of the models that it holds.")


class AttemptsConfig(_Section):
    """How engines are called."""

    workers: Count = Field(default=1, description="Worker processes of each engine for a model.")
    attempts: Count = Field(default=2, description="Most attempts for a batch, the first included.")
    attempt_timeout_s: Seconds = Field(default=20.0, description="Longest time for one attempt.")
    probe_interval_s: Seconds = Field(
        default=2.0, description="How often a remote engine is asked for its models."
    )


class TorchServeConfig(_Section):
    """The TorchServe that the gateway supervises when no engines are listed."""

    start_timeout_s: Seconds = Field(
        default=60.0, description="Longest time for Java to answer after its start."
    )
    load_timeout_s: Seconds = Field(
        default=300.0, description="Longest time for a model to load and warm up."
    )
    max_message_bytes: Count = Field(default=256 * 2**20, description="Largest batch, in bytes.")
    jvm_options: tuple[str, ...] = Field(
        default=DEFAULT_JAVA_OPTIONS, description="Options of the Java process."
    )


class TokenConfig(_Section):
    """A bearer token, kept as its digest; `attnserve token` makes one."""

    name: str = Field(min_length=1, description="Who uses it; shown in logs.")
    role: Literal["infer", "operate", "admin"] = Field(default="infer", description="What it allows.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the secret, hexadecimal.")

    @property
    def level(self) -> Role:
        """The role as a value that can be compared."""
        return Role[self.role.upper()]


class Config(_Section):
    """All settings of one gateway process."""

    host: str = Field(default="127.0.0.1", description="Address that all three ports bind to.")
    http_port: Port = Field(default=8000, description="REST; 0 picks a free one.")
    grpc_port: Port = Field(default=8001, description="gRPC; 0 picks a free one.")
    metrics_port: Port = Field(default=8002, description="Prometheus; 0 picks a free one.")
    allow_unauthenticated: bool = Field(
        default=False,
        description="Bind beyond loopback without tokens; anybody who reaches the port may use it.",
    )
    tokens: tuple[TokenConfig, ...] = Field(
        default=(), description="Who may call; empty: everybody, on loopback only."
    )
    tokens_file: Path | None = Field(
        default=None, description="YAML file with more tokens, a list as under `tokens`."
    )
    model_store: Path = Field(
        default=Path("model_store/archives"), description="Folder of the archives and SHA256SUMS."
    )
    models: tuple[ModelName, ...] = Field(
        default=(), description="Models to load and to be ready for; empty: all in the store."
    )
    engines: tuple[EngineConfig, ...] = Field(
        default=(), description="Remote engines; empty: supervise a local TorchServe."
    )
    run_dir: Path = Field(default=Path("run"), description="Folder for logs and run-time files.")
    drain_timeout_s: Seconds = Field(
        default=8.0, description="Longest time from SIGTERM to the end of the process."
    )
    request_timeout_s: Seconds = Field(
        default=30.0, description="Deadline of a request whose caller sets none."
    )
    max_request_images: Count = Field(default=128, description="Most images in one request.")
    max_request_bytes: Count = Field(
        default=64 * 2**20, description="Largest request, in bytes, after decompression."
    )
    body_timeout_s: Seconds = Field(default=30.0, description="Longest time for a REST body to arrive.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal."
    )
    batching: BatchingConfig = BatchingConfig()
    attempts: AttemptsConfig = AttemptsConfig()
    torchserve: TorchServeConfig = TorchServeConfig()

    @model_validator(mode="after")
    def _closed_or_local(self) -> Self:
        if not (self.tokens or self.allow_unauthenticated or _is_loopback(self.host)):
            raise ValueError(
                f"host is {self.host!r}, which others can reach, and no tokens are set: add tokens "
                "(attnserve token NAME), or set allow_unauthenticated: true if something else guards the port"
            )
        return self

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        ports = [port for port in (self.http_port, self.grpc_port, self.metrics_port) if port]
        _check_different("http_port, grpc_port, metrics_port: the ports", ports)
        _check_different("tokens: the names", [token.name for token in self.tokens])
        # The address is the engine's name in metrics, and load is counted by it.
        _check_different("engines: the addresses", [engine.address for engine in self.engines])
        return self

    @model_validator(mode="after")
    def _request_fits_in_a_message(self) -> Self:
        request, message = self.max_request_bytes, self.torchserve.max_message_bytes
        if request > message:
            raise ValueError(f"max_request_bytes is {request}, above torchserve.max_message_bytes, {message}")
        return self


def read_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file and the variables into frozen values.

    Args:
        path: The YAML file; None means defaults only. A key without a value counts as not set.
        environment: The process's variables; an empty one counts as not set.

    Raises:
        ConfigError: A key is unknown or a value breaks its rule; every one is named.
    """
    data = {} if path is None else _read_yaml(path, dict)
    for keys, value in _overrides(environment):
        _put(data, keys, value)
    data = {key: value for key, value in data.items() if value is not None or key not in Config.model_fields}
    more, tokens = data.get("tokens_file"), data.get("tokens", [])
    if isinstance(more, str) and isinstance(tokens, list):
        data["tokens"] = [*tokens, *_read_yaml(Path(more), list)]
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        where = path or "configuration"
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


def _read_yaml(path: Path, kind: type[Any]) -> Any:  # noqa: ANN401  whatever the file holds; checked by pydantic
    try:
        data = _parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
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
    # A secret may stand where a digest should, or where a token should.
    secret = detail["loc"][0] == "tokens" and detail["loc"][-1] not in ("name", "role")
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


def _check_different(what: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} {list(values)} are not all different")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
