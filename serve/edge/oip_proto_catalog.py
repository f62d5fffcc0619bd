"""What the server tells about itself, in protobuf: the core's catalogue to `open_inference.proto`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
from serve.core.errors import InvalidRequestError
from serve.core.messages import Parameter
from serve.edge.tensors import data_type, show
from serve.pb import open_inference_pb2 as pb


def encode_server(metadata: ServerMetadata) -> pb.ServerMetadataResponse:
    """Write the server's metadata."""
    return pb.ServerMetadataResponse(
        name=metadata.name, version=metadata.version, extensions=metadata.extensions
    )


def encode_metadata(metadata: ModelMetadata) -> pb.ModelMetadataResponse:
    """Write a model's metadata; shapes have the batch dimension."""
    return pb.ModelMetadataResponse(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        inputs=map(_tensor_metadata, metadata.inputs),
        outputs=map(_tensor_metadata, metadata.outputs),
        properties=metadata.properties,
    )


def encode_config(config: ModelConfig) -> pb.ModelConfigResponse:
    """Write a model's configuration; shapes lose the batch dimension."""
    return pb.ModelConfigResponse(
        config=pb.ModelConfig(
            name=config.name,
            platform=config.platform,
            backend=config.backend,
            max_batch_size=config.max_batch_size,
            input=map(_model_input, config.inputs),
            output=map(_model_output, config.outputs),
            dynamic_batching=pb.ModelDynamicBatching(
                preferred_batch_size=config.preferred_batch_sizes,
                max_queue_delay_microseconds=config.max_queue_delay_us,
            ),
            parameters={
                name: pb.ModelParameter(string_value=value) for name, value in config.parameters.items()
            },
        )
    )


def encode_statistics(usages: Iterable[ModelUsage]) -> pb.ModelStatisticsResponse:
    """Write what versions have done."""
    return pb.ModelStatisticsResponse(model_stats=map(_statistics, usages))


def encode_index(entries: Iterable[IndexEntry]) -> pb.RepositoryIndexResponse:
    """Write the repository's index."""
    return pb.RepositoryIndexResponse(
        models=(
            pb.RepositoryIndexResponse.ModelIndex(
                name=entry.name, version=entry.version, state=entry.state.value, reason=entry.reason
            )
            for entry in entries
        )
    )


def decode_repository_parameters(
    parameters: Mapping[str, pb.ModelRepositoryParameter],
) -> dict[str, Parameter | bytes]:
    """Read the parameters of a load or an unload.

    Raises:
        InvalidRequestError: One has no value.
    """
    return {key: _repository_parameter(key, parameter) for key, parameter in parameters.items()}


def _repository_parameter(key: str, parameter: pb.ModelRepositoryParameter) -> Parameter | bytes:
    field = parameter.WhichOneof("parameter_choice")
    if field is None:
        raise InvalidRequestError(f"parameter {show(key)} has no value")
    value: Parameter | bytes = getattr(parameter, field)
    return value


def _tensor_metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _model_input(spec: TensorSpec) -> pb.ModelInput:
    return pb.ModelInput(
        name=spec.name,
        data_type=data_type(spec.datatype),
        dims=spec.shape[1:],
        optional=spec.optional,
    )


def _model_output(spec: TensorSpec) -> pb.ModelOutput:
    return pb.ModelOutput(name=spec.name, data_type=data_type(spec.datatype), dims=spec.shape[1:])


def _span(span: Span) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=span.count, ns=span.ns)


def _statistics(usage: ModelUsage) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=usage.name,
        version=usage.version,
        last_inference=usage.last_inference_ms,
        inference_count=usage.inference_count,
        execution_count=usage.execution_count,
        inference_stats=pb.InferStatistics(
            success=_span(usage.success),
            fail=_span(usage.fail),
            queue=_span(usage.queue),
            compute_input=_span(usage.compute_input),
            compute_infer=_span(usage.compute_infer),
            compute_output=_span(usage.compute_output),
        ),
        batch_stats=map(_batch_statistics, usage.batches),
    )


def _batch_statistics(usage: BatchUsage) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=usage.batch_size,
        compute_input=_span(usage.compute_input),
        compute_infer=_span(usage.compute_infer),
        compute_output=_span(usage.compute_output),
    )
