"""What the server tells about itself, over REST: the core's catalogue as values for JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from serve.core.catalog import (
    BatchUsage,
    IndexEntry,
    ModelConfig,
    ModelMetadata,
    ModelUsage,
    ServerMetadata,
    Span,
    TensorSpec,
)
from serve.edge.tensors import data_type

Json = dict[str, Any]


def encode_server(metadata: ServerMetadata) -> Json:
    """Write the server's metadata."""
    return asdict(metadata)


def encode_metadata(metadata: ModelMetadata) -> Json:
    """Write a model's metadata; shapes have the batch dimension."""
    document = {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        "inputs": [_tensor_metadata(spec) for spec in metadata.inputs],
        "outputs": [_tensor_metadata(spec) for spec in metadata.outputs],
    }
    return document | ({"properties": dict(metadata.properties)} if metadata.properties else {})


def encode_config(config: ModelConfig) -> Json:
    """Write a model's configuration; shapes lose the batch dimension."""
    document = {
        "name": config.name,
        "platform": config.platform,
        "backend": config.backend,
        "max_batch_size": config.max_batch_size,
        "input": [_model_tensor(spec) | {"optional": spec.optional} for spec in config.inputs],
        "output": [_model_tensor(spec) for spec in config.outputs],
        "dynamic_batching": {
            "preferred_batch_size": list(config.preferred_batch_sizes),
            "max_queue_delay_microseconds": config.max_queue_delay_us,
        },
    }
    parameters = {name: {"string_value": value} for name, value in config.parameters.items()}
    return document | ({"parameters": parameters} if parameters else {})


def encode_statistics(usages: Iterable[ModelUsage]) -> Json:
    """Write what versions have done."""
    return {"model_stats": [_statistics(usage) for usage in usages]}


def encode_index(entries: Iterable[IndexEntry]) -> list[Json]:
    """Write the repository's index."""
    return [
        {"name": entry.name, "version": entry.version, "state": entry.state.value, "reason": entry.reason}
        for entry in entries
    ]


def _tensor_metadata(spec: TensorSpec) -> Json:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _model_tensor(spec: TensorSpec) -> Json:
    return {"name": spec.name, "data_type": data_type(spec.datatype), "dims": list(spec.shape[1:])}


def _spans(usage: ModelUsage | BatchUsage, names: Iterable[str]) -> Mapping[str, Json]:
    spans: Iterable[tuple[str, Span]] = ((name, getattr(usage, name)) for name in names)
    return {name: asdict(span) for name, span in spans}


def _statistics(usage: ModelUsage) -> Json:
    compute = ("compute_input", "compute_infer", "compute_output")
    nothing = asdict(Span())
    return {
        "name": usage.name,
        "version": usage.version,
        "last_inference": usage.last_inference_ms,
        "inference_count": usage.inference_count,
        "execution_count": usage.execution_count,
        "inference_stats": {
            **_spans(usage, ("success", "fail", "queue", *compute)),
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {"batch_size": batch.batch_size, **_spans(batch, compute)} for batch in usage.batches
        ],
        "response_stats": {},
        "memory_usage": [],
    }
