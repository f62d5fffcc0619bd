"""The parts of the configuration and the kinds of value in them; `serve.settings` puts them together."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serve.core.access import Role, Token
from serve.core.expiry import expiry
from serve.core.messages import MODEL_NAME, MODEL_VERSION
from serve.discovery import Address
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MOST_OF_ONE_NAME = 2
ModelName = Annotated[str, Field(pattern=f"^{MODEL_NAME}$")]
ModelVersion = Annotated[str, Field(pattern=f"^{MODEL_VERSION}$")]
HeldModel = Annotated[str, Field(pattern=f"^{MODEL_NAME}(:{MODEL_VERSION})?$")]


def _host_and_port(text: str) -> str:
    try:
        Address.parse(text)
    except ValueError:  # the value is shown anyway
        raise ValueError("must be host:port, an IPv6 address in brackets, a port from 1 to 65535") from None
    return text


def _usable_path(path: Path) -> Path:
    # Else whatever touches it raises a ValueError that names no setting.
    try:
        usable = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValueError("is no path of a file: it holds NUL or half of a character")
    return path


def _path_of_pem(path: Path) -> Path:
    # Else the private key itself would stand in messages about a file that cannot be read.
    if "\n" in str(path):
        raise ValueError("must be the path of a PEM file, not what stands in it")
    return path


def _store_url(text: str) -> str:
    scheme, separator, place = text.partition("://")
    # As database operators write it into their secrets; SQLAlchemy would take another driver for it.
    if scheme in ("postgresql", "postgres"):
        text = f"postgresql+psycopg{separator}{place}"
    # Not the URL itself in the message: it may hold a password.
    if text and not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return text


def _endpoint(text: str) -> str:
    found = re.fullmatch(r"https?://([^/@\s]+)/?", text)
    try:
        Address.parse(found[1] if found else "")
    except ValueError:  # the value may hold a password, which it must not
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT, and nothing more") from None
    return text


StoreUrl = Annotated[str, AfterValidator(_store_url)]
Endpoint = Annotated[str, AfterValidator(lambda text: text and _endpoint(text))]
Expiry = Annotated[datetime, BeforeValidator(expiry)]
UsablePath = Annotated[Path, AfterValidator(_usable_path)]
PemFile = Annotated[UsablePath, AfterValidator(_path_of_pem)]


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
        default=1, description="Batches handed to a busy worker ahead of time."
    )


class EngineConfig(Section):
    """A TorchServe that runs elsewhere."""

    address: Annotated[str, AfterValidator(_host_and_port)] = Field(
        description="host:port of its gRPC inference port; each address of the host is an engine of its own.",
    )
    models: tuple[HeldModel, ...] = Field(
        min_length=1,
        description="What it holds: NAME for the version that it calls default, or NAME:VERSION.",
    )

    token_file: UsablePath | None = Field(
        default=None, description="File with the bearer token that it asks for; read anew when it changes."
    )

    @property
    def names(self) -> frozenset[str]:
        """The models' names, without versions."""
        return frozenset(model.partition(":")[0] for model in self.models)


class AttemptsConfig(Section):
    """How engines are called."""

    workers: Count = Field(default=1, description="Worker processes of each engine for a model.")
    attempts: Count = Field(
        default=3,
        description="Most attempts for a batch that an engine may have begun, or two lost workers.",
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
        default=None, description="Most images a second, and five seconds' worth at once; empty: no limit."
    )

    expires: Expiry | None = Field(
        default=None,
        description="Date whose end in UTC, or time with a zone, is the last that it is good; empty: no end.",
    )

    @property
    def kept(self) -> Token:
        """As callers are compared with it."""
        given = self.model_dump(exclude={"role"})
        return Token(role=Role[self.role.upper()], **given)


class TlsConfig(Section):
    """Encryption of both doors; files are read again when they change."""

    certificate: PemFile | None = Field(
        default=None, description="PEM file, the chain of both doors; empty: no TLS."
    )
    key: PemFile | None = Field(default=None, description="PEM file of its private key.")
    client_ca: PemFile | None = Field(
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


class ExperimentsConfig(Section):
    """Where experiments are kept, and what they may cost."""

    enabled: bool = Field(default=True, description="Whether this gateway takes part in experiments.")
    store_url: StoreUrl = Field(
        default="",
        description="sqlite:///FILE or postgresql://USER@HOST/DB; empty: experiments.db in run_dir.",
    )
    poll_interval_s: Seconds = Field(
        default=2.0, description="How often experiments are looked at for changes and for harm."
    )
    keys_file: UsablePath | None = Field(
        default=None,
        description="YAML file with unit_key and one or two token_keys; empty: made in run_dir, SQLite only.",
    )
    token_life_s: Seconds = Field(
        default=7 * 86400.0, description="How long after an answer its true label may be told."
    )
    keep_raw_days: Seconds = Field(
        default=90.0, description="How long single predictions are kept; the sums stay."
    )
    max_queued_records: Count = Field(
        default=20_000, description="Most calls that wait to be written; more are dropped and counted."
    )
    max_mirrors: Count = Field(
        default=32, description="Most requests that a mirrored arm works on at once; more are not mirrored."
    )
    mirror_timeout_s: Seconds = Field(default=10.0, description="Deadline of a mirrored call.")

    @model_validator(mode="after")
    def _labels_find_their_predictions(self) -> Self:
        if self.token_life_s > self.keep_raw_days * 86400:
            raise ValueError(
                f"experiments.token_life_s is {self.token_life_s:g}, longer than predictions are kept: "
                f"keep_raw_days is {self.keep_raw_days:g}"
            )
        return self


class TracingConfig(Section):
    """OpenTelemetry traces of requests; needs the extra `tracing`."""

    endpoint: Endpoint = Field(
        default="",
        description="http://HOST:PORT, or https, of a collector that takes OTLP over gRPC; empty: no traces.",
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.01,
        description="Share of requests that are traced where the caller's traceparent does not say.",
    )


def check_tokens(tokens: Sequence[TokenConfig]) -> None:
    """Two tokens may have one name, so that a caller can change from one to the next; they allow the same.

    Raises:
        ValueError: There are more, or they differ in what they allow, or one stands there twice.
    """
    for name, count in Counter(token.name for token in tokens).items():
        same = [token for token in tokens if token.name == name]
        if count > MOST_OF_ONE_NAME:
            raise ValueError(f"tokens: {count} have the name {name!r}, at most {MOST_OF_ONE_NAME} may")
        if len({(token.role, token.max_images_per_s) for token in same}) > 1:
            raise ValueError(f"tokens: those named {name!r} must have the same role and max_images_per_s")
    digests = Counter(token.sha256 for token in tokens)
    doubled = [token.name for token in tokens if digests[token.sha256] > 1]
    if doubled:
        raise ValueError(f"tokens: the sha256 of {doubled} are not all different")
