"""What the server tells about itself and its models: metadata, configuration, usage, index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """Name, version and the protocol extensions that work."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor that a model takes or gives; -1 is a variable dimension.

    Attributes:
        shape: With the batch dimension.
        optional: For inputs: whether a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a model takes and gives; `versions` are those that can be asked for, ascending."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The model_configuration extension: what load generators read before they start.

    Attributes:
        inputs: Shapes with the batch dimension, as in `ModelMetadata`; the edge drops it.
        max_queue_delay_us: How long the batcher may wait with an idle worker, in microseconds.
        parameters: What else is to be told, as text.
    """

    name: str
    version: str
    platform: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preferred_batch_sizes: tuple[int, ...]
    max_queue_delay_us: int
    parameters: Mapping[str, str] = field(default_factory=dict)


class ModelState(Enum):
    """Triton's words for the state of a version."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A line of the repository's index."""

    name: str
    version: str
    state: ModelState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A number of events and the nanoseconds that they took together."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUsage:
    """How batches of one size went."""

    batch_size: int
    compute_input: Span = Span()
    compute_infer: Span = Span()
    compute_output: Span = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """The statistics extension: what a version has done since the gateway started.

    Attributes:
        last_inference_ms: Wall clock in milliseconds since 1970; 0 when there was none.
        inference_count: Images that succeeded.
        execution_count: Batches run.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Span = Span()
    fail: Span = Span()
    queue: Span = Span()
    compute_input: Span = Span()
    compute_infer: Span = Span()
    compute_output: Span = Span()
    batches: tuple[BatchUsage, ...] = ()
