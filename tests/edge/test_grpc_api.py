"""The gRPC door, through a real server on the loopback."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serve.core.access import Access, Role, Token
from serve.core.catalog import ModelState
from serve.edge.grpc_api import ANY_MODEL, SERVICE_NAME, GrpcEdge
from serve.edge.limits import EdgeLimits
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.edge.doors import grpc_door
from tests.edge.fakes import FakeService

Raw = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
RawStream = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
Told = Callable[[str], Awaitable[int]]

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

IMAGE = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])


def _infer(model: str = "digits", *, raw: bool = True) -> pb.ModelInferRequest:
    if raw:
        return pb.ModelInferRequest(
            model_name=model, id="7", inputs=[IMAGE], raw_input_contents=[b"\x03\x00\x00\x00png"]
        )
    request = pb.ModelInferRequest(model_name=model, id="7", inputs=[IMAGE])
    request.inputs[0].contents.bytes_contents.append(b"png")
    return request


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    """Give the generated client of the inference service."""
    return GRPCInferenceServiceStub(channel)


async def _failure(call: grpc.aio.UnaryUnaryCall[Message, Message]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_raw_request_is_answered_raw(stub: GRPCInferenceServiceStub, fake: FakeService) -> None:
    """Raw in, raw out, with the id, and the model and version that served."""
    answer = await stub.ModelInfer(_infer())
    assert fake.requests[0].inputs[0].data == (b"png",)
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "3", "7")
    assert [output.name for output in answer.outputs] == ["probabilities", "label"]
    assert answer.raw_output_contents[1] == b"\x06\x00\x00\x00sieben"
    assert answer.parameters["count"].int64_param == 1


async def test_a_typed_request_is_answered_typed(stub: GRPCInferenceServiceStub) -> None:
    """Typed in, typed out."""
    answer = await stub.ModelInfer(_infer(raw=False))
    assert list(answer.raw_output_contents) == []
    assert list(answer.outputs[0].contents.fp32_contents) == [0.25, 0.75]
    assert list(answer.outputs[1].contents.bytes_contents) == [b"sieben"]


async def test_the_callers_deadline_reaches_the_service(
    stub: GRPCInferenceServiceStub, fake: FakeService
) -> None:
    """The call's deadline is handed on, on the monotonic clock; without one there is none."""
    await stub.ModelInfer(_infer(), timeout=20)
    await stub.ModelInfer(_infer())
    with_deadline, without = fake.calls
    assert with_deadline.deadline is not None
    # gRPC sends the time left in few digits, and rounds it up.
    assert 10 < with_deadline.deadline - time.monotonic() < 21
    assert without.deadline is None
    assert with_deadline.protocol == "grpc"


@pytest.mark.parametrize(
    ("model", "code", "details"),
    [
        ("nobody", grpc.StatusCode.NOT_FOUND, "model 'nobody' is not found"),
        ("late", grpc.StatusCode.DEADLINE_EXCEEDED, "the time ran out"),
        ("loading", grpc.StatusCode.UNAVAILABLE, "model 'loading' is not ready"),
        ("broken", grpc.StatusCode.INTERNAL, "internal error, request id "),
    ],
)
async def test_a_failure_has_its_code_and_text(
    stub: GRPCInferenceServiceStub, model: str, code: grpc.StatusCode, details: str
) -> None:
    """What the service raises arrives as the table says, and a bug's text does not."""
    error = await _failure(stub.ModelInfer(_infer(model)))
    assert error.code() is code
    assert (error.details() or "").startswith(details)
    assert "secret" not in str(error)


async def test_whoever_is_shed_is_told_when_to_come_back(stub: GRPCInferenceServiceStub) -> None:
    """An overload says in the trailing metadata how many seconds to wait."""
    error = await _failure(stub.ModelInfer(_infer("overloaded")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("retry-after", "2") in list(error.trailing_metadata())


async def test_an_undecodable_message_is_the_callers_fault(channel: grpc.aio.Channel) -> None:
    """Bytes that are no protobuf get INVALID_ARGUMENT, not gRPC's UNKNOWN."""
    call: Raw = channel.unary_unary(f"/{SERVICE_NAME}/ModelInfer")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the 2 bytes received are not a inference.ModelInferRequest message"


async def test_a_message_over_the_limit_is_refused(stub: GRPCInferenceServiceStub, fake: FakeService) -> None:
    """More bytes than the limit are RESOURCE_EXHAUSTED and never reach the service."""
    request = _infer()
    request.raw_input_contents[0] = bytes(200_000)
    error = await _failure(stub.ModelInfer(request))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert fake.requests == []


async def test_a_cancelled_call_cancels_the_work(stub: GRPCInferenceServiceStub, fake: FakeService) -> None:
    """When the caller gives up, so does the service."""
    error = await _failure(stub.ModelInfer(_infer("slow"), timeout=0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await fake.cancelled.wait()


async def test_a_stream_survives_a_failed_message(stub: GRPCInferenceServiceStub) -> None:
    """Each message has its answer in order; a failed one has a text and its id, and the stream goes on."""

    async def messages() -> AsyncIterator[pb.ModelInferRequest]:
        for model in ("digits", "nobody", "digits"):
            yield _infer(model)

    answers = [answer async for answer in stub.ModelStreamInfer(messages())]
    assert [answer.error_message for answer in answers] == ["", "model 'nobody' is not found", ""]
    assert [answer.infer_response.model_version for answer in answers] == ["3", "", "3"]
    assert [answer.infer_response.id for answer in answers] == ["7", "7", "7"]


async def test_an_undecodable_message_does_not_end_a_stream(channel: grpc.aio.Channel) -> None:
    """In a stream, too, bytes that are no protobuf are answered."""
    call: RawStream = channel.stream_stream(f"/{SERVICE_NAME}/ModelStreamInfer")
    parts = iter([b"\xff", _infer().SerializeToString()])
    answers = [pb.ModelStreamInferResponse.FromString(data) async for data in call(parts)]
    assert [bool(answer.error_message) for answer in answers] == [True, False]


async def test_liveness_and_readiness(stub: GRPCInferenceServiceStub, fake: FakeService) -> None:
    """The three questions are answered by the service, the unknown model by NOT_FOUND."""
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="digits"))).ready
    fake.is_ready = False
    fake.models["digits"] = ModelState.LOADING
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="digits"))).ready
    error = await _failure(stub.ModelReady(pb.ModelReadyRequest(name="nobody")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_metadata_has_the_batch_dimension_and_the_configuration_not(
    stub: GRPCInferenceServiceStub,
) -> None:
    """Shapes are told as the protocol wants them told in either place."""
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("fake", "1.2.3")
    assert list(server.extensions) == ["statistics", "binary_tensor_data"]
    metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="digits"))
    assert (metadata.platform, list(metadata.versions)) == ("pytorch_torchscript", ["1", "3"])
    assert [list(tensor.shape) for tensor in metadata.inputs] == [[-1, 1], [-1, 3, 2, 2]]
    assert dict(metadata.properties) == {"layout": "none"}
    config = (await stub.ModelConfig(pb.ModelConfigRequest(name="digits"))).config
    assert [list(tensor.dims) for tensor in config.input] == [[1], [3, 2, 2]]
    assert [tensor.optional for tensor in config.input] == [False, True]
    assert [pb.DataType.Name(tensor.data_type) for tensor in config.output] == ["TYPE_FP32", "TYPE_STRING"]
    assert config.max_batch_size == 8
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert {key: value.string_value for key, value in config.parameters.items()} == {"recipe": "portable"}


async def test_statistics(stub: GRPCInferenceServiceStub) -> None:
    """What a version has done is told with counts and nanoseconds."""
    (usage,) = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats
    assert (usage.name, usage.version, usage.inference_count, usage.execution_count) == ("digits", "3", 8, 2)
    assert usage.last_inference == 1_700_000_000_000
    assert (usage.inference_stats.success.count, usage.inference_stats.success.ns) == (3, 9_000)
    assert [(batch.batch_size, batch.compute_infer.ns) for batch in usage.batch_stats] == [(4, 7_000)]


async def test_the_repository(stub: GRPCInferenceServiceStub) -> None:
    """Models come, go and are listed; a refused parameter and a wrong state have their own codes."""
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="new"))
    unload = {"unload_dependents": pb.ModelRepositoryParameter(bool_param=False)}
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="new", parameters=unload))
    listed = (await stub.RepositoryIndex(pb.RepositoryIndexRequest())).models
    assert [(entry.name, entry.state) for entry in listed] == [("digits", "READY"), ("new", "UNAVAILABLE")]
    ready = (await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))).models
    assert [entry.name for entry in ready] == ["digits"]
    config = {"config": pb.ModelRepositoryParameter(string_param="{}")}
    error = await _failure(
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="new", parameters=config))
    )
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    error = await _failure(stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="nobody")))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    empty = {"k": pb.ModelRepositoryParameter()}
    error = await _failure(
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="new", parameters=empty))
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_tokens_are_asked_for_as_far_as_needed(fake: FakeService) -> None:
    """Probes need no token, inference one, loading one with a higher role."""
    tokens = tuple(
        Token(name=name, role=role, sha256=hashlib.sha256(name.encode()).hexdigest())
        for name, role in (("reader", Role.INFER), ("operator", Role.OPERATE))
    )
    async with (
        grpc_door(fake, Access(tokens=tokens)) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        load = pb.RepositoryModelLoadRequest(model_name="new")
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert (await _failure(stub.ModelInfer(_infer()))).code() is grpc.StatusCode.UNAUTHENTICATED
        error = await _failure(stub.RepositoryModelLoad(load, metadata=_bearer("reader")))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await anext(aiter(stub.ModelStreamInfer(iter([_infer()]))))
        await stub.ModelInfer(_infer(), metadata=_bearer("reader"))
        await stub.RepositoryModelLoad(load, metadata=_bearer("operator"))
    assert [call.principal for call in fake.calls] == ["reader", "operator"]


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


async def test_health_follows_the_service(fake: FakeService) -> None:
    """grpc.health.v1 knows the process, the server and each model, and learns of changes."""
    async with _asked_for_health(fake) as (edge, told):
        assert [await told(name) for name in ("gateway", "", "digits")] == [SERVING] * 3
        fake.models["digits"] = ModelState.LOADING
        edge.refresh("digits")
        await _until(told, "digits", NOT_SERVING)
        assert await told("") == SERVING
        edge.drain()
        await _until(told, "", NOT_SERVING)
        assert await told("gateway") == SERVING


async def test_one_model_is_enough_to_be_ready_for_some(fake: FakeService) -> None:
    """A missing model takes the others' calls from no gateway; without any, or draining, nothing is ready."""
    async with _asked_for_health(fake) as (edge, told):
        fake.models["other"] = ModelState.LOADING
        edge.refresh("other")
        await _until(told, "other", NOT_SERVING)
        assert await told(ANY_MODEL) == SERVING
        for name in fake.models:
            fake.models[name] = ModelState.LOADING
        edge.refresh("digits")
        await _until(told, ANY_MODEL, NOT_SERVING)
        fake.models["digits"] = ModelState.READY
        edge.refresh("digits")
        await _until(told, ANY_MODEL, SERVING)
        edge.drain()
        await _until(told, ANY_MODEL, NOT_SERVING)


@asynccontextmanager
async def _asked_for_health(fake: FakeService) -> AsyncIterator[tuple[GrpcEdge, Told]]:
    """A door, and what its health service says of a name."""
    async with (
        grpc_door(fake) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        check: Raw = channel.unary_unary("/grpc.health.v1.Health/Check")

        async def told(name: str) -> int:
            question = health_pb2.HealthCheckRequest(service=name).SerializeToString()
            return health_pb2.HealthCheckResponse.FromString(await check(question)).status

        yield edge, told


async def _until(told: Told, name: str, status: int) -> None:
    for _ in range(100):
        if await told(name) == status:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"health of {name!r} never became {status}")


async def test_reflection_names_the_services(channel: grpc.aio.Channel) -> None:
    """Tools can ask what is offered."""
    ask: RawStream = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    data = await anext(aiter(ask(iter([question]))))
    answer = reflection_pb2.ServerReflectionResponse.FromString(data)
    names = {service.name for service in answer.list_services_response.service}
    assert names == {
        SERVICE_NAME,
        "attnserve.v1.Experiments",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert SERVICE_NAME == "inference.GRPCInferenceService"


async def test_a_busy_port_is_an_error(fake: FakeService) -> None:
    """Two servers never share a port by accident."""
    async with grpc_door(fake) as first:
        second = grpc_door(fake, limits=EdgeLimits())
        async with second as edge:
            with pytest.raises(RuntimeError):
                edge.listen(f"127.0.0.1:{first.port}")
