"""Section "gRPC core": names and numbers on the wire, and what every method answers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import LOADING, MODEL, SERVICE, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS: Mapping[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=1",
    "ModelReadyRequest": "name=1 version=2",
    "ModelReadyResponse": "ready=1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=1 version=2 extensions=3",
    "ModelMetadataRequest": "name=1 version=2",
    "ModelMetadataResponse": "name=1 versions=2 platform=3 inputs=4 outputs=5 properties=6",
    "ModelMetadataResponse.TensorMetadata": "name=1 datatype=2 shape=3",
    "ModelInferRequest":
        "model_name=1 model_version=2 id=3 parameters=4 inputs=5 outputs=6 raw_input_contents=7",
    "ModelInferRequest.InferInputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
    "ModelInferRequest.InferRequestedOutputTensor": "name=1 parameters=2",
    "ModelInferResponse":
        "model_name=1 model_version=2 id=3 parameters=4 outputs=5 raw_output_contents=6",
    "ModelInferResponse.InferOutputTensor": "name=1 datatype=2 shape=3 parameters=4 contents=5",
    "InferParameter": "bool_param=1 int64_param=2 string_param=3 double_param=4 uint64_param=5",
    "InferTensorContents":
        "bool_contents=1 int_contents=2 int64_contents=3 uint_contents=4 uint64_contents=5 "
        "fp32_contents=6 fp64_contents=7 bytes_contents=8",
    "ModelStreamInferResponse": "error_message=1 infer_response=2",
    "RepositoryIndexRequest": "repository_name=1 ready=2",
    "RepositoryIndexResponse": "models=1",
    "RepositoryIndexResponse.ModelIndex": "name=1 version=2 state=3 reason=4",
    "RepositoryModelLoadRequest": "repository_name=1 model_name=2 parameters=3",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "repository_name=1 model_name=2 parameters=3",
    "RepositoryModelUnloadResponse": "",
    "ModelRepositoryParameter": "bool_param=1 int64_param=2 string_param=3 bytes_param=4",
    "ModelStatisticsRequest": "name=1 version=2",
    "ModelStatisticsResponse": "model_stats=1",
    "ModelStatistics":
        "name=1 version=2 last_inference=3 inference_count=4 execution_count=5 inference_stats=6 "
        "batch_stats=7",
    "StatisticDuration": "count=1 ns=2",
    "InferStatistics":
        "success=1 fail=2 queue=3 compute_input=4 compute_infer=5 compute_output=6 cache_hit=7 cache_miss=8",
    "InferBatchStatistics": "batch_size=1 compute_input=2 compute_infer=3 compute_output=4",
    "ModelConfigRequest": "name=1 version=2",
    "ModelConfigResponse": "config=1",
    "ModelConfig":
        "name=1 platform=2 max_batch_size=4 input=5 output=6 dynamic_batching=11 parameters=14 backend=17",
    "ModelParameter": "string_value=1",
    "ModelInput": "name=1 data_type=2 dims=4 optional=8",
    "ModelOutput": "name=1 data_type=2 dims=3",
    "ModelDynamicBatching": "preferred_batch_size=1 max_queue_delay_microseconds=2",
}  # fmt: skip


def messages() -> dict[str, Descriptor]:
    """All messages of the protocol by name, nested ones too, without the entries of maps."""
    found = {}
    left = list(pb.DESCRIPTOR.message_types_by_name.values())
    while left:
        kind = left.pop()
        if not kind.GetOptions().map_entry:
            found[kind.full_name.removeprefix("inference.")] = kind
        left += kind.nested_types
    return found


@pytest.mark.parametrize("name", NUMBERS)
async def test_fields_have_the_protocols_numbers(name: str) -> None:
    """Every field has its name and number, and there is no other."""
    found = " ".join(f"{field.name}={field.number}" for field in messages()[name].fields)
    assert found == NUMBERS[name]


async def test_the_service_has_the_protocols_name() -> None:
    """The package is `inference`, or no client would find the methods."""
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert f"/{service.full_name}/" == SERVICE
    streams = [m.name for m in service.methods if m.client_streaming or m.server_streaming]
    assert streams == ["ModelStreamInfer"]


async def test_messages_are_tritons_own() -> None:
    """Each field that we and Triton's published client both have is of the same type and number."""
    program = Path(__file__).with_name("tritons_fields.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    theirs: dict[str, dict[str, list[Any]]] = json.loads(output)
    ours = {name: _fields(kind) for name, kind in messages().items()}
    assert ours.keys() <= theirs.keys()
    for name, fields in ours.items():
        strangers = fields.keys() - theirs[name].keys()
        assert strangers == ({"properties"} if name == "ModelMetadataResponse" else set())
        assert {key: fields[key] for key in fields.keys() - strangers} == {
            key: theirs[name][key] for key in fields.keys() - strangers
        }


def _fields(kind: Descriptor) -> dict[str, list[Any]]:
    return {field.name: _type(field) for field in kind.fields}


def _type(field: FieldDescriptor) -> list[Any]:
    kind = field.message_type or field.enum_type
    return [field.number, field.type, field.is_repeated, kind.full_name if kind else None]


async def test_live_ready_and_metadata(shared: Gateway) -> None:
    """The server tells that it runs, that it is ready, who it is and what it can."""
    stub = shared.stub
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    metadata = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert metadata.name == "attnserve"
    assert metadata.version
    assert set(metadata.extensions) == {
        "classification", "model_repository", "model_configuration", "statistics", "binary_tensor_data",
        "parameters", "schedule_policy",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "ready"), [(MODEL, True), (LOADING, False)])
async def test_model_ready(shared: Gateway, name: str, ready: bool) -> None:
    """A model that is known tells whether it can answer."""
    assert (await shared.stub.ModelReady(pb.ModelReadyRequest(name=name))).ready is ready


@pytest.mark.parametrize("version", ["", "1"])
async def test_model_metadata(shared: Gateway, version: str) -> None:
    """Shapes include the batch dimension, -1 is variable; encoded images are BYTES [-1,1]."""
    metadata = await shared.stub.ModelMetadata(pb.ModelMetadataRequest(name=MODEL, version=version))
    assert (metadata.name, list(metadata.versions), metadata.platform) == (
        MODEL,
        ["1", "2"],
        "pytorch_torchscript",
    )
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("image", "BYTES", [-1, 1]),
        ("pixels", "UINT8", [-1, -1, -1, 3]),
        ("input", "FP32", [-1, 3, 2, 2]),
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("probabilities", "FP32", [-1, 10]),
        ("label", "BYTES", [-1]),
        ("logits", "FP32", [-1, 10]),
        ("status", "INT32", [-1]),
        ("attention", "FP32", [-1, 3]),
    ]


NAMED = [
    ("ModelReady", pb.ModelReadyRequest),
    ("ModelMetadata", pb.ModelMetadataRequest),
    ("ModelConfig", pb.ModelConfigRequest),
    ("ModelStatistics", pb.ModelStatisticsRequest),
]


@pytest.mark.parametrize(("method", "request_type"), NAMED, ids=[name for name, _ in NAMED])
@pytest.mark.parametrize(("name", "version"), [("nobody", ""), (MODEL, "9"), (MODEL, "v10")])
async def test_unknown_names_are_not_found(
    shared: Gateway,
    method: str,
    request_type: type[Message],
    name: str,
    version: str,
) -> None:
    """A model or a version that is not known is NOT_FOUND for every method that names one."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(shared.stub, method)(request_type(name=name, version=version))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


METHODS = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods


@pytest.mark.parametrize("method", [method.name for method in METHODS if not method.client_streaming])
async def test_bytes_that_are_no_message(shared: Gateway, method: str) -> None:
    """INVALID_ARGUMENT for every method, never gRPC's UNKNOWN."""
    call: Any = shared.channel.unary_unary(SERVICE + method)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_is_not_there(shared: Gateway) -> None:
    """UNIMPLEMENTED."""
    call: Any = shared.channel.unary_unary(f"{SERVICE}ModelExplain")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
