"""Every setting, declared with its unit in its name, its default and its help text beside it.

`serve.config` reads them from a file and from variables.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve.core.access import Role
from serve.core.messages import MODEL_NAME, MODEL_VERSION
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
ModelName = Annotated[str, Field(pattern=f"^{MODEL_NAME}$")]
ModelVersion = Annotated[str, Field(pattern=f"^{MODEL_VERSION}$")]


class Section(BaseModel):
    """A part of the configuration: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BatchingConfig(Section):
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


class EngineConfig(Section):
    """A TorchServe that runs elsewhere."""

    address: str = Field(
        min_length=1,
        description="host:port of its gRPC inference port; each address of the host is an engine of its own.",
    )
    models: tuple[ModelName, ...] = Field(min_length=1, description="Names of the models that it holds.")


class AttemptsConfig(Section):
    """How engines are called."""

    workers: Count = Field(default=1, description="Worker processes of each engine for a model.")
    attempts: Count = Field(
        default=2, description="Most attempts for a whole batch; after them its images are tried one by one."
    )
    attempt_timeout_s: Seconds = Field(default=20.0, description="Longest time for one attempt.")
    patience_s: Seconds = Field(
        default=1.0,
        description="Least time without an answer after which another engine is tried as well.",
    )
    retry_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="Images that may be tried again, as a share of all images."
    )
    failures_to_eject: Count = Field(
        default=3, description="Failures in a row after which an engine gets no batches of that model."
    )
    eject_s: Seconds = Field(
        default=0.5, description="First rest of an ejected engine; doubles with each failed probe."
    )
    max_eject_s: Seconds = Field(default=10.0, description="Longest rest between two probes.")
    slow_ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        default=4.0, description="An engine that is so many times slower than the others is ejected."
    )
    return_s: Seconds = Field(
        default=10.0, description="How long a returning engine gets less than its full share."
    )
    poison_s: Seconds = Field(
        default=600.0, description="How long an image is refused after it ended workers by itself."
    )
    probe_interval_s: Seconds = Field(
        default=2.0, description="How often a remote engine is asked for its models."
    )
    resolve_interval_s: Seconds = Field(
        default=1.0, description="How often an engine's host name is looked up."
    )


class TorchServeConfig(Section):
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


class TokenConfig(Section):
    """A bearer token, kept as its digest; `attnserve token` makes one."""

    name: str = Field(min_length=1, description="Who uses it; shown in logs.")
    role: Literal["infer", "operate", "admin"] = Field(default="infer", description="What it allows.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the secret, hexadecimal.")
    max_images_per_s: Seconds | None = Field(
        default=None, description="Most images a second, over some seconds; empty: no limit."
    )

    @property
    def level(self) -> Role:
        """The role as a value that can be compared."""
        return Role[self.role.upper()]


class TlsConfig(Section):
    """Encryption of both doors; files are read again when they change."""

    certificate: Path | None = Field(
        default=None, description="PEM file, the chain of both doors; empty: no TLS."
    )
    key: Path | None = Field(default=None, description="PEM file of its private key.")
    client_ca: Path | None = Field(
        default=None, description="PEM file; every caller must show a certificate that it signed."
    )
    client_role: Literal["infer", "operate", "admin"] = Field(
        default="infer", description="What a caller's certificate allows where no tokens are set."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("tls.certificate and tls.key go together")
        if self.client_ca and not self.certificate:
            raise ValueError("tls.client_ca needs tls.certificate and tls.key")
        return self


class Config(Section):
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
    default_versions: dict[ModelName, ModelVersion] = Field(
        default={},
        description="Version that answers for a model where the caller names none; else the highest.",
    )
    keep_versions: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Newest ready versions of a model that stay loaded; 0: all in the store."
    )
    model_store_watch_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="How often the model store is looked at for changes; 0: never."
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
    max_inflight_bytes: Count = Field(
        default=2**30, description="Most bytes of all requests that are being received or answered."
    )
    max_connections: Count = Field(default=1024, description="Most REST connections at a time.")
    header_timeout_s: Seconds = Field(
        default=10.0, description="Longest time for the headers of a REST request to arrive."
    )
    body_timeout_s: Seconds = Field(default=30.0, description="Longest time for a request's body to arrive.")
    reload_interval_s: Seconds = Field(
        default=5.0,
        description="How often tokens_file and the TLS files are looked at; SIGHUP looks at once.",
    )
    audit_file: Path | None = Field(
        default=None, description="Gets a line for every administrative act; empty: audit.jsonl in run_dir."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal."
    )
    batching: BatchingConfig = BatchingConfig()
    attempts: AttemptsConfig = AttemptsConfig()
    torchserve: TorchServeConfig = TorchServeConfig()
    tls: TlsConfig = TlsConfig()

    @model_validator(mode="after")
    def _closed_or_local(self) -> Self:
        guarded = self.tokens or self.tls.client_ca or self.allow_unauthenticated
        if not (guarded or _is_loopback(self.host)):
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


def _check_different(what: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} {list(values)} are not all different")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
