"""Section "extensions": those of Triton's that are listed work, and those that are not say so."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from serve.core.batching import Limits
from serve.engines.fake import Pace
from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import (
    MODEL,
    PLAIN,
    SERVICE,
    Gateway,
    gateway,
    label_of,
    until_busy,
    until_inflight,
)
from tests.conformance.wire import Said, ask_grpc, ask_rest, json_image, raw_image
from tests.service.house import CARD, House, images_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BATCH_STATS = {"batch_size", "compute_input", "compute_infer", "compute_output"}
INFERENCE_STATS = {
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss",
}  # fmt: skip


async def at_both(gateway: Gateway, parameters: dict[str, Any], **outputs: Any) -> tuple[Said, Said]:  # noqa: ANN401
    """The same request at both doors; `outputs` are the requested outputs' parameters."""
    wanted = [{"name": name, "parameters": given} for name, given in outputs.items()]
    over_grpc = raw_image(parameters=_map(parameters))
    for output in wanted:
        over_grpc.outputs.add(name=output["name"], parameters=_map(output["parameters"]))
    body = json_image(parameters=parameters, outputs=wanted)
    return await ask_grpc(gateway, over_grpc), await ask_rest(gateway, body)


def _map(parameters: dict[str, Any]) -> dict[str, pb.InferParameter]:
    fields = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    return {key: pb.InferParameter(**{fields[type(value)]: value}) for key, value in parameters.items()}


# --- classification -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("top", "columns"), [(1, 1), (3, 3), (10, 10), (99, 10)])
async def test_classification(shared: Gateway, top: int, columns: int) -> None:
    """BYTES of shape [batch, k] with "value:index:label", the highest first; k is at most the classes."""
    for said in await at_both(shared, {}, probabilities={"classification": top}):
        output = said.output("probabilities")
        assert (output["datatype"], output["shape"]) == ("BYTES", [1, columns])
        assert len(output["data"]) == columns
        best = label_of(b"png")
        assert output["data"][0] == f"0.900000:{CARD.labels.index(best)}:{best}"
        figures = [float(text.split(":")[0]) for text in output["data"]]
        assert figures == sorted(figures, reverse=True)


@pytest.mark.parametrize("top", [0, -1, True, "3", 1.0])
async def test_classification_is_a_whole_number_above_0(shared: Gateway, top: object) -> None:
    """Anything else is refused."""
    over_grpc, over_rest = await at_both(shared, {}, probabilities={"classification": top})
    assert (over_grpc.code, over_rest.code) == ("INVALID_ARGUMENT", 400)
    assert over_grpc.error == over_rest.error
    assert over_rest.error.startswith("output 'probabilities': classification is ")


# --- schedule_policy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["priority", "timeout"])
@pytest.mark.parametrize("choice", ["int64_param", "uint64_param", "string_param"])
async def test_priority_and_timeout_come_in_any_integer_field(
    shared: Gateway, name: str, choice: str
) -> None:
    """One client sends one signed and the other unsigned, others write strings: all are understood."""
    value = "9000000" if choice == "string_param" else 9_000_000
    parameter = pb.InferParameter()
    setattr(parameter, choice, value)
    assert (await ask_grpc(shared, raw_image(parameters={name: parameter}))).code == "OK"
    assert (await ask_rest(shared, json_image(parameters={name: value}))).code == 200


@pytest.mark.parametrize("name", ["priority", "timeout"])
@pytest.mark.parametrize("value", [-1, True, 0.5, "soon", "-1", ""])
async def test_priority_and_timeout_are_whole_numbers(shared: Gateway, name: str, value: object) -> None:
    """Anything else is refused, in the same words at both doors."""
    over_grpc, over_rest = await at_both(shared, {name: value})
    assert (over_grpc.code, over_rest.code) == ("INVALID_ARGUMENT", 400)
    assert over_grpc.error == over_rest.error
    assert re.match(
        f"parameter '{name}' is {re.escape(repr(value))}, expected a whole number", over_rest.error
    )


async def test_timeout_is_in_microseconds() -> None:
    """50,000 of them and an engine that hangs: DEADLINE_EXCEEDED and 504, long before the default."""
    async with gateway() as slow:
        slow.house.engine.hang()
        over_grpc, over_rest = await at_both(slow, {"timeout": 50_000})
        assert (over_grpc.code, over_rest.code) == ("DEADLINE_EXCEEDED", 504)


async def test_priority_1_goes_first() -> None:
    """Of what waits, a request of priority 1 is answered before one that came earlier, at either door."""
    async with gateway(
        house=House(pace=Pace(), limits=Limits(max_batch=1, max_queue_images=100, prefetch=0))
    ) as busy:
        house = busy.house
        house.engine.hang()
        first = pb.InferParameter(uint64_param=1)
        tasks = [asyncio.create_task(ask_grpc(busy, raw_image(b"running")))]
        await until_busy(house)
        for ask in (
            ask_grpc(busy, raw_image(b"later")),
            ask_rest(busy, json_image("sooner", parameters={"priority": 1})),
            ask_grpc(busy, raw_image(b"soon", parameters={"priority": first})),
        ):
            tasks.append(asyncio.create_task(ask))
            await until_inflight(house, len(tasks))
        house.engine.wake()
        assert {said.code for said in await asyncio.gather(*tasks)} == {"OK", 200}
        order = [image for _, batch in house.engine.batches for image in images_of(batch)]
        assert order == [b"running", b"sooner", b"soon", b"later"]


# --- statistics ---------------------------------------------------------------------------------------------


async def test_statistics_count_images_and_batches() -> None:
    """Successes are requests, inference_count images, execution_count batches; both doors tell the same."""
    async with gateway() as fresh:
        await ask_grpc(fresh, raw_image())
        await ask_rest(fresh, json_image())
        await ask_rest(fresh, json_image("BAD"))
        rows = (await fresh.rest.get(f"/v2/models/{MODEL}/versions/2/stats")).json()["model_stats"]
        answer = await fresh.stub.ModelStatistics(pb.ModelStatisticsRequest(name=MODEL, version="2"))
        (row,) = rows
        assert (row["name"], row["version"]) == (MODEL, "2")
        assert (row["inference_count"], row["execution_count"]) == (2, 3)
        assert row["last_inference"] > 1.6e12, "milliseconds since 1970"
        assert row["inference_stats"].keys() == INFERENCE_STATS
        assert row["inference_stats"]["success"]["count"] == 2
        assert row["inference_stats"]["success"]["ns"] > 1e6
        assert row["inference_stats"]["fail"]["count"] == 1
        (batches,) = row["batch_stats"]
        assert batches.keys() == BATCH_STATS
        assert (batches["batch_size"], batches["compute_infer"]["count"]) == (1, 3)
        assert row["response_stats"] == {}
        assert row["memory_usage"] == []
        assert _numbers(row), "REST writes 64-bit integers as numbers, not as strings"
        told = MessageToDict(answer.model_stats[0], preserving_proto_field_name=True)
        assert told["inference_count"] == str(row["inference_count"])
        assert told["inference_stats"]["success"] == {
            key: str(value) for key, value in row["inference_stats"]["success"].items()
        }


def _numbers(value: object) -> bool:
    if isinstance(value, dict):
        return all(_numbers(item) for key, item in value.items() if key not in ("name", "version"))
    return all(map(_numbers, value)) if isinstance(value, list) else isinstance(value, int)


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        ("", "", ["digits_loading:1", "digits_plain:1", "digits_se:1", "digits_se:2"]),
        (MODEL, "", ["digits_se:1", "digits_se:2"]),
        (MODEL, "1", ["digits_se:1"]),
    ],
)
async def test_statistics_of_all_of_a_model_or_of_a_version(
    shared: Gateway, name: str, version: str, found: list[str]
) -> None:
    """Without a name all models are told, without a version all versions."""
    answer = await shared.stub.ModelStatistics(pb.ModelStatisticsRequest(name=name, version=version))
    assert [f"{row.name}:{row.version}" for row in answer.model_stats] == found
    path = f"/{name}" if name else ""
    path += f"/versions/{version}" if version else ""
    rows = (await shared.rest.get(f"/v2/models{path}/stats")).json()["model_stats"]
    assert [f"{row['name']}:{row['version']}" for row in rows] == found


# --- model_configuration ------------------------------------------------------------------------------------


async def test_the_configuration_fits_the_metadata(shared: Gateway) -> None:
    """Same names in the same order, dims without the batch, TYPE_ names, one input required, batches > 0."""
    config = (await shared.rest.get(f"/v2/models/{MODEL}/config")).json()
    metadata = (await shared.rest.get(f"/v2/models/{MODEL}")).json()
    assert config["max_batch_size"] > 0
    for ours, theirs in (("input", "inputs"), ("output", "outputs")):
        assert [(t["name"], t["dims"]) for t in config[ours]] == [
            (t["name"], t["shape"][1:]) for t in metadata[theirs]
        ]
    assert [t["data_type"] for t in config["input"]] == ["TYPE_STRING", "TYPE_UINT8", "TYPE_FP32"]
    assert [t["optional"] for t in config["input"]] == [False, True, True]
    assert config["dynamic_batching"] == {"preferred_batch_size": [16], "max_queue_delay_microseconds": 0}
    over_grpc = (await shared.stub.ModelConfig(pb.ModelConfigRequest(name=MODEL))).config
    assert over_grpc.WhichOneof("scheduling_choice") == "dynamic_batching"
    told = MessageToDict(over_grpc, preserving_proto_field_name=True)
    assert [t["name"] for t in told["input"]] == [t["name"] for t in config["input"]]
    assert (told["max_batch_size"], told["platform"]) == (config["max_batch_size"], config["platform"])


async def test_a_model_without_gates_offers_no_attention(shared: Gateway) -> None:
    """Not listed, and refused when asked for."""
    metadata = (await shared.rest.get(f"/v2/models/{PLAIN}")).json()
    assert "attention" not in [output["name"] for output in metadata["outputs"]]
    wish = json_image(outputs=[{"name": "attention"}])
    said = await ask_rest(shared, wish, f"/v2/models/{PLAIN}/infer")
    assert (said.code, said.error) == (
        400,
        f"output 'attention' is not offered by model '{PLAIN}': it has no channel gates",
    )


# --- model_repository ---------------------------------------------------------------------------------------


async def test_the_repository_over_grpc(shared: Gateway) -> None:
    """The index as over REST; load and unload answer with empty messages and reach the loader."""
    stub, asked = shared.stub, shared.house.loads.asked
    ready = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    assert {entry.state for entry in ready.models} == {"READY"}
    everything = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
    assert len(everything.models) == len(ready.models) + 1
    asked.clear()
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=MODEL))
    unload = {"unload_dependents": pb.ModelRepositoryParameter(bool_param=True)}
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=MODEL, parameters=unload))
    assert asked == [("load", MODEL), ("unload", MODEL)]


# --- not offered --------------------------------------------------------------------------------------------

ABSENT = [
    ("SystemSharedMemoryRegister", "POST /v2/systemsharedmemory/region/r/register", "system_shared_memory"),
    ("CudaSharedMemoryRegister", "POST /v2/cudasharedmemory/region/r/register", "cuda_shared_memory"),
    ("TraceSetting", "GET /v2/trace/setting", "trace"),
    ("TraceSetting", f"POST /v2/models/{MODEL}/trace/setting", "trace"),
    ("LogSettings", "GET /v2/logging", "logging"),
    ("LogSettings", "POST /v2/logging", "logging"),
    ("", f"POST /v2/models/{MODEL}/generate", "generate"),
    ("", f"POST /v2/models/{MODEL}/versions/1/generate_stream", "generate"),
]


@pytest.mark.parametrize(("method", "route", "extension"), ABSENT)
async def test_what_is_not_offered_says_so(shared: Gateway, method: str, route: str, extension: str) -> None:
    """UNIMPLEMENTED and 501 with the extension's name; it is not listed among those that work."""
    verb, path = route.split()
    answer = await shared.rest.request(verb, path, json={})
    assert answer.status_code == 501
    assert answer.json()["error"].startswith(f"the extension '{extension}' is not offered by this server")
    if method:
        call: Any = shared.channel.unary_unary(SERVICE + method)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x0a\x01r")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == answer.json()["error"]
    metadata = await shared.stub.ServerMetadata(pb.ServerMetadataRequest())
    assert extension not in metadata.extensions


@pytest.mark.parametrize("kind", ["System", "Cuda"])
async def test_there_is_no_region_of_shared_memory(shared: Gateway, kind: str) -> None:
    """Programs that tidy up before they begin are let through; a region by name is not found."""
    for method, name in (("Status", ""), ("Unregister", ""), ("Unregister", "r")):
        request = getattr(pb, f"{kind}SharedMemory{method}Request")(name=name)
        assert (await getattr(shared.stub, f"{kind}SharedMemory{method}")(request)).ByteSize() == 0
    with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
        await getattr(shared.stub, f"{kind}SharedMemoryStatus")(
            getattr(pb, f"{kind}SharedMemoryStatusRequest")(name="r")
        )
    root = f"/v2/{kind.lower()}sharedmemory"
    assert (await shared.rest.get(f"{root}/status")).json() == []
    assert (await shared.rest.get(f"{root}/region/r/status")).status_code == 404
    for path in (f"{root}/unregister", f"{root}/region/r/unregister"):
        assert (await shared.rest.post(path)).status_code == 200


async def test_tensors_in_shared_memory_are_unsupported(shared: Gateway) -> None:
    """An output that points there is UNIMPLEMENTED and 501 (inputs: see the status table)."""
    region = {"shared_memory_region": pb.InferParameter(string_param="r")}
    output = {"name": "label", "parameters": region}
    assert (await ask_grpc(shared, raw_image(outputs=[output]))).code == "UNIMPLEMENTED"
    wish = [{"name": "label", "parameters": {"shared_memory_region": "r"}}]
    assert (await ask_rest(shared, json_image(outputs=wish))).code == 501
