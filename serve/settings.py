"""Every setting, declared with its unit in its name, its default and its help text beside it.

`serve.config` reads them from a file and from variables.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serve.core.live import Place
from serve.discovery import Address
from serve.page_section import PageConfig
from serve.sections import (
    AttemptsConfig,
    BatchingConfig,
    Count,
    EngineConfig,
    ExperimentsConfig,
    ModelName,
    ModelVersion,
    Port,
    Seconds,
    Section,
    TlsConfig,
    TokenConfig,
    TorchServeConfig,
    TracingConfig,
    UsablePath,
    check_tokens,
)


class Config(Section):
    """All settings of one gateway process."""

    host: str = Field(default="127.0.0.1", description="Address that all three ports bind to.")
    http_port: Port = Field(default=8000, description="REST; 0 picks a free one.")
    grpc_port: Port = Field(default=8001, description="gRPC; 0 picks a free one.")
    metrics_port: Port = Field(default=8002, description="Prometheus; 0 picks a free one.")
    processes: Count = Field(
        default=1,
        description="Gateway processes that share the ports of REST and gRPC; of metrics each has its own.",
    )
    share_ports: bool = Field(
        default=False,
        description="Join gateways that answer on these ports already, as soon as every model is ready.",
    )
    process_index: Count = Field(
        default=1, description="Which of `process_count` this one is; the first tells those that it starts."
    )
    process_count: Count = Field(
        default=1, description="Processes behind these ports, where another one has started this one."
    )
    allow_unauthenticated: bool = Field(
        default=False,
        description="Bind beyond loopback without tokens; anybody who reaches the port may use it.",
    )
    tokens: tuple[TokenConfig, ...] = Field(
        default=(), description="Who may call; empty: everybody, on loopback only."
    )
    tokens_file: UsablePath | None = Field(
        default=None,
        description="YAML file with more tokens, at least one, as under `tokens`; read anew when it changes.",
    )
    model_store: UsablePath = Field(
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
    run_dir: UsablePath = Field(default=Path("run"), description="Folder for logs and run-time files.")
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
    max_connections: Count = Field(default=1024, description="Most connections at a time, of each door.")
    max_connection_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=1800.0,
        description="After that a connection is asked to come anew, perhaps to another gateway; 0: never.",
    )
    header_timeout_s: Seconds = Field(
        default=10.0, description="Longest time for the headers of a REST request to arrive."
    )
    body_timeout_s: Seconds = Field(default=30.0, description="Longest time for a request's body to arrive.")
    reload_interval_s: Seconds = Field(
        default=5.0,
        description="How often tokens_file and the TLS files are looked at; SIGHUP looks at once.",
    )
    audit_file: UsablePath | None = Field(
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
    experiments: ExperimentsConfig = ExperimentsConfig()
    tracing: TracingConfig = TracingConfig()
    page: PageConfig = PageConfig()

    def showing(self, samples: Path) -> Self:
        """The same, with that folder of images to try where none is set."""
        page = self.page.model_copy(update={"samples": self.page.samples or samples.absolute()})
        return self.model_copy(update={"page": page})

    @property
    def shares_ports(self) -> bool:
        """Whether other gateways listen, or will, on the same ports."""
        return self.share_ports or self.processes > 1

    @property
    def place(self) -> Place:
        """Which of the gateway processes behind these ports this is."""
        return Place(index=self.process_index, of=max(self.processes, self.process_count))

    @property
    def audit_path(self) -> Path:
        """The file that gets a line for every administrative act."""
        return self.audit_file or self.run_dir / "audit.jsonl"

    @property
    def experiments_url(self) -> str:
        """Where experiments are kept, for SQLAlchemy."""
        return self.experiments.store_url or f"sqlite:///{self.run_dir.absolute() / 'experiments.db'}"

    @property
    def experiment_keys_path(self) -> Path:
        """The file with the secrets of experiments."""
        return self.experiments.keys_file or self.run_dir / "experiment_keys.yaml"

    @model_validator(mode="after")
    def _keys_are_shared(self) -> Self:
        given = self.experiments
        if given.store_url.startswith("postgresql") and not given.keys_file:
            raise ValueError(
                "experiments.keys_file is missing: gateways that share a store must share its keys, too"
            )
        return self

    @model_validator(mode="after")
    def _closed_or_local(self) -> Self:
        guarded = self.tokens or self.tokens_file or self.tls.client_ca or self.allow_unauthenticated
        if not (guarded or is_loopback(self.host)):
            raise ValueError(
                f"host is {self.host!r}, which others can reach, and no tokens are set: add tokens "
                "(attnserve token NAME), or set allow_unauthenticated: true if something else guards the port"
            )
        return self

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        ports = [port for port in (self.http_port, self.grpc_port, self.metrics_port) if port]
        _check_different("http_port, grpc_port, metrics_port: the ports", ports)
        check_tokens(self.tokens)
        places = [str(Address.parse(engine.address)) for engine in self.engines]
        _check_different("engines: the addresses", places)
        return self

    @model_validator(mode="after")
    def _store_is_used(self) -> Self:
        # Engines that run elsewhere change models by rollout; whoever sets these expects something else.
        for name in ("keep_versions", "model_store_watch_s"):
            value = getattr(self, name)
            if value and self.engines:
                raise ValueError(f"{name} is {value:g}, which has no effect on engines that run elsewhere")
        return self

    @model_validator(mode="after")
    def _processes_agree(self) -> Self:
        if self.processes > 1 and self.model_store_watch_s:
            raise ValueError(
                f"model_store_watch_s is {self.model_store_watch_s:g}, and processes is {self.processes}: "
                "several processes change models by a restart"
            )
        if self.process_index > self.process_count:
            raise ValueError(
                f"process_index is {self.process_index}, above process_count, {self.process_count}"
            )
        if self.share_ports and not self.engines:
            raise ValueError("share_ports needs engines: who joins others has no TorchServe of its own")
        if self.share_ports and not (self.http_port and self.grpc_port):
            raise ValueError("share_ports needs http_port and grpc_port, those of the others")
        return self

    @model_validator(mode="after")
    def _request_fits_in_a_message(self) -> Self:
        request, message = self.max_request_bytes, self.torchserve.max_message_bytes
        if request > message:
            raise ValueError(f"max_request_bytes is {request}, above torchserve.max_message_bytes, {message}")
        # A slow gRPC message counts as one of the largest size, and half of the room is for such.
        if 2 * request > self.max_inflight_bytes:
            raise ValueError(
                f"max_inflight_bytes is {self.max_inflight_bytes}, below 2 x max_request_bytes, {2 * request}"
            )
        return self


def _check_different(what: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} {list(values)} are not all different")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
