"""Configuration: one YAML file, overridden by ATTNSERVE_* variables, read once into frozen values.

Every setting is declared here with its unit in its name and its help text beside it. The variable
of `batching.max_queue_delay_ms` is ATTNSERVE_BATCHING_MAX_QUEUE_DELAY_MS, and so on.
"""

from __future__ import annotations

import difflib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve.core.access import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "ATTNSERVE_"
# Set by the worker's side or by the CLI, not settings of the gateway.
FOREIGN_VARIABLES = frozenset({"ATTNSERVE_REQUIRE_GPU", "ATTNSERVE_TOKEN"})

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class ConfigError(ValueError):
    """The configuration breaks a rule; the operator's fault, the message names key, value and rule."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BatchingConfig(_Section):
    """How requests are gathered."""

    max_batch_images: Count = Field(16, description="Most images in a batch; each model's own limit holds too.")
    max_queue_images: Count = Field(1024, description="Most images that may wait for a model; more are refused.")
    max_queue_delay_ms: Annotated[float, Field(ge=0)] = Field(
        0.0, description="How long an idle worker waits for a batch to fill; 0: not at all."
    )
    prefetch_batches: Annotated[int, Field(ge=0)] = Field(
        1, description="Full batches handed to a busy worker ahead of time."
    )


class EngineConfig(_Section):
    """A TorchServe that runs elsewhere."""

    address: str = Field(min_length=1, description="host:port of its gRPC inference port.")
    models: tuple[str, ...] = Field(min_length=1, description="Names of the models that it holds.")


class AttemptsConfig(_Section):
    """How engines are called."""

    workers: Count = Field(1, description="Worker processes of each engine for a model.")
    attempts: Count = Field(2, description="Most attempts for a batch, the first included.")
    attempt_timeout_s: Seconds = Field(30.0, description="Longest time for one attempt.")
    probe_interval_s: Seconds = Field(2.0, description="How often a remote engine is asked for its models.")


class TorchServeConfig(_Section):
    """The TorchServe that the gateway supervises when no engines are listed."""

    start_timeout_s: Seconds = Field(60.0, description="Longest time for Java to answer after its start.")
    load_timeout_s: Seconds = Field(300.0, description="Longest time for a model to load and warm up.")
    max_message_bytes: Count = Field(256 * 2**20, description="Largest batch, in bytes.")
    jvm_options: tuple[str, ...] = Field(
        ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1g"), description="Options of the Java process."
    )


class TokenConfig(_Section):
    """A bearer token, kept as its digest; `attnserve token` makes one."""

    name: str = Field(min_length=1, description="Who uses it; shown in logs.")
    role: Literal["infer", "operate", "admin"] = Field("infer", description="What it allows.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the secret, hexadecimal.")

    @property
    def level(self) -> Role:
        """The role as a value that can be compared."""
        return Role[self.role.upper()]


class Config(_Section):
    """All settings of one gateway process."""

    host: str = Field("127.0.0.1", description="Address that all three ports bind to.")
    http_port: Port = Field(8000, description="REST; 0 picks a free one.")
    grpc_port: Port = Field(8001, description="gRPC; 0 picks a free one.")
    metrics_port: Port = Field(8002, description="Prometheus; 0 picks a free one.")
    allow_unauthenticated: bool = Field(
        default=False, description="Bind beyond loopback without tokens; anybody who reaches the port may use it."
    )
    tokens: tuple[TokenConfig, ...] = Field((), description="Who may call; empty: everybody, on loopback only.")
    tokens_file: Path | None = Field(None, description="YAML file with more tokens, a list as under `tokens`.")
    model_store: Path = Field(Path("model_store/archives"), description="Folder of the archives and SHA256SUMS.")
    models: tuple[str, ...] = Field((), description="Models to load and to be ready for; empty: all in the store.")
    engines: tuple[EngineConfig, ...] = Field((), description="Remote engines; empty: supervise a local TorchServe.")
    run_dir: Path = Field(Path("run"), description="Folder for logs and run-time files.")
    drain_timeout_s: Seconds = Field(8.0, description="Longest time from SIGTERM to the end of the process.")
    request_timeout_s: Seconds = Field(30.0, description="Deadline of a request whose caller sets none.")
    max_request_images: Count = Field(128, description="Most images in one request.")
    max_request_bytes: Count = Field(64 * 2**20, description="Largest request, in bytes, after decompression.")
    body_timeout_s: Seconds = Field(30.0, description="Longest time for a REST body to arrive.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    batching: BatchingConfig = BatchingConfig()
    attempts: AttemptsConfig = AttemptsConfig()
    torchserve: TorchServeConfig = TorchServeConfig()

    @model_validator(mode="after")
    def _closed_or_local(self) -> Self:
        if not (self.tokens or self.allow_unauthenticated or _is_loopback(self.host)):
            message = (
                f"host is {self.host!r}, which others can reach, and no tokens are set: add tokens "
                "(attnserve token NAME), or set allow_unauthenticated: true if something else guards the port"
            )
            raise ValueError(message)
        names = [token.name for token in self.tokens]
        if len(set(names)) != len(names):
            message = f"tokens: the names {names} are not all different"
            raise ValueError(message)
        return self


def read_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file and the variables into frozen values.

    Args:
        path: The YAML file; None means defaults only.
        environment: The process's variables.

    Raises:
        ConfigError: A key is unknown or a value breaks its rule; every one is named.
    """
    data = {} if path is None else _read_yaml(path, dict)
    for keys, text in _overrides(environment):
        _put(data, keys, yaml.safe_load(text) if text[:1] in ("[", "{") else text)
    if data.get("tokens_file"):
        data["tokens"] = [*data.get("tokens", ()), *_read_yaml(Path(data["tokens_file"]), list)]
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


def _overrides(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str]]:
    known = {PREFIX + "_".join(keys).upper(): keys for keys in settings()}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in FOREIGN_VARIABLES:
            continue
        if name not in known:
            message = f"variable {name} is not a setting{_nearest(name, known)}"
            raise ConfigError(message)
        yield known[name], text


def _read_yaml(path: Path, kind: type[Any]) -> Any:  # noqa: ANN401  whatever the file holds; checked by pydantic
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(message) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path}: is not YAML: {error}"
        raise ConfigError(message) from None
    if data is None:
        return kind()
    if not isinstance(data, kind):
        message = f"{path}: expected a {'mapping' if kind is dict else 'list'} at the top, got {type(data).__name__}"
        raise ConfigError(message)
    return data


def _put(data: dict[str, Any], keys: tuple[str, ...], value: object) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
    data[keys[-1]] = value


def _explain(detail: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    where = ".".join(str(key) for key in detail["loc"])
    if detail["type"] == "extra_forbidden":
        siblings = [keys[-1] for keys in settings() if keys[:-1] == detail["loc"][:-1]]
        siblings += [keys[0] for keys in settings() if len(detail["loc"]) == 1]
        return f"{where}: unknown key{_nearest(str(detail['loc'][-1]), siblings)}"
    message = detail["msg"].removeprefix("Value error, ")
    shown = "" if "sha256" in where or not where else f", got {detail['input']!r}"
    return f"{where}: {message}{shown}" if where else message


def _nearest(name: str, known: Any) -> str:  # noqa: ANN401  any iterable of names
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
