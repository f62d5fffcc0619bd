"""A gateway's traces as a collector gets them, and what names them elsewhere."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest
import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from serve.core.errors import EngineError
from serve.engines.fake import Pace
from serve.pb import open_inference_pb2 as pb
from tests.service.house import REF
from tests.tracing.collector import Collector, collecting
from tests.tracing.gateway import STREAM, Stream, message, parent, traced_gateway

T1, T2, T3, T4 = ("1" * 32, "2" * 32, "3" * 32, "4" * 32)
CALLER = "b7ad6b7169203331"
GRPC_SPAN = "inference.GRPCInferenceService/ModelInfer"
LONGEST_S = 20.0
REST_SPAN = "POST /v2/models/{model}/infer"
BELOW = {"queue", "attempt", "decode", "inference", "encode"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that keeps what it gets."""
    with collecting() as one:
        yield one


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged."""
    with structlog.testing.capture_logs() as captured:
        yield captured


async def until(holds: Callable[[], bool]) -> None:
    """Wait until that holds."""
    async with asyncio.timeout(LONGEST_S):
        while not holds():  # noqa: ASYNC110  of other threads, and of what has no event
            await asyncio.sleep(0.01)


def exemplars(page: str) -> set[str]:
    """The traces that the buckets of requests' durations name."""
    return {
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call] # its lack
        for sample in family.samples
        if family.name == "attnserve_request_duration_seconds" and sample.exemplar
    }


async def test_a_request_is_one_trace_that_goes_on_with_its_callers(
    collector: Collector, tmp_path: Path
) -> None:
    """At both doors: the caller's span is the parent of the door's, under which each step has its own."""
    async with traced_gateway(tmp_path, collector.endpoint, ratio=0.0, pace=Pace(batch_s=0.02)) as traced:
        await traced.over_grpc(b"a", parent(T1))
        assert await traced.over_rest(b"b", parent(T2)) == 200
        assert exemplars(await traced.metrics()) == {T1, T2}
    for trace, name in ((T1, GRPC_SPAN), (T2, REST_SPAN)):
        spans = collector.trace(trace)
        assert spans.keys() == {name, *BELOW}
        door, attempt = spans[name], spans["attempt"]
        assert (door.parent, door.kind, attempt.kind) == (CALLER, "SERVER", "CLIENT")
        assert {spans[child].parent for child in ("queue", "attempt")} == {door.id}
        assert {spans[child].parent for child in ("decode", "inference", "encode")} == {attempt.id}
        assert door.holds(spans["queue"])
        assert door.holds(attempt)
        assert spans["queue"].end_ns <= attempt.start_ns
        assert all(attempt.holds(spans[stage]) for stage in ("decode", "inference", "encode"))
        assert spans["inference"].end_ns - spans["inference"].start_ns == 20_000_000  # what the engine says
        assert door.service["service.name"] == "attnserve"


async def test_spans_tell_what_happened(collector: Collector, tmp_path: Path) -> None:
    """The protocol's facts by OpenTelemetry's conventions, and ours: model, images, engine, outcome."""
    async with traced_gateway(tmp_path, collector.endpoint) as traced:
        await traced.over_grpc()
        await traced.over_rest(path=f"/v2/models/{REF.name}/versions/1/infer")
        assert await traced.over_rest(path="/v2/models/stranger/infer") == 404
        with pytest.raises(grpc.aio.AioRpcError):
            await traced.over_grpc(model="stranger")
    served = {
        "attnserve.model.name": REF.name,
        "attnserve.model.version": "1",
        "attnserve.images": 1,
        "attnserve.outcome": "ok",
    }
    good, stranger = collector.named(GRPC_SPAN)
    called = {"rpc.system.name": "grpc", "rpc.method": GRPC_SPAN}
    assert good.facts == {**called, **served, "rpc.response.status_code": "OK"}
    assert stranger.facts == {
        **called,
        "rpc.response.status_code": "NOT_FOUND",
        "attnserve.images": 0,
        "attnserve.outcome": "client_error",
    }
    assert not stranger.failed, "an error of the caller is none of the server"
    (by_version,) = collector.named("POST /v2/models/{model}/versions/{version}/infer")
    assert by_version.facts == {
        **served,
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/versions/{version}/infer",
        "url.path": f"/v2/models/{REF.name}/versions/1/infer",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    (missing,) = collector.named(REST_SPAN)
    assert missing.facts["http.response.status_code"] == 404
    assert [attempt.facts for attempt in collector.named("attempt")] == 2 * [
        {
            "attnserve.engine": "fake",
            "attnserve.model.name": REF.name,
            "attnserve.model.version": "1",
            "attnserve.batch.images": 1,
            "attnserve.attempt": 1,
            "attnserve.outcome": "ok",
        }
    ]


MALFORMED = {
    "too short": ("traceparent", f"00-{T4[1:]}-{CALLER}-01"),
    "no hexadecimal number": ("traceparent", f"00-{'g' * 32}-{CALLER}-01"),
    "capital letters": ("traceparent", f"00-{'A' * 32}-{CALLER}-01"),
    "no trace": ("traceparent", f"00-{'0' * 32}-{CALLER}-01"),
    "no span": ("traceparent", f"00-{T4}-{'0' * 16}-01"),
    "more than version 00 has": ("traceparent", f"00-{T4}-{CALLER}-01-more"),
    "a version that there will never be": ("traceparent", f"ff-{T4}-{CALLER}-01"),
}


async def test_a_context_that_breaks_the_rules_is_ignored(collector: Collector, tmp_path: Path) -> None:
    """What W3C calls malformed, or gives twice, neither fails a request nor has it traced."""
    async with traced_gateway(tmp_path, collector.endpoint, ratio=0.0) as traced:
        for header in MALFORMED.values():
            await traced.over_grpc(b"a", header)
            assert await traced.over_rest(b"a", header) == 200
        # Over gRPC no server sees both: the library keeps the last.
        assert await traced.over_rest(b"a", parent(T3), parent(T4)) == 200
        await traced.over_grpc(b"a", parent(T1), ("tracestate", "no = state,,="))
        await traced.over_grpc(b"a", parent(T2, sampled=False))
        assert exemplars(await traced.metrics()) == {T1}
    assert {span.trace for span in collector.spans} == {T1}


async def test_callers_decide_and_else_chance(collector: Collector, tmp_path: Path) -> None:
    """With all requests to be traced, those are whose callers say nothing, and not those who say no."""
    async with traced_gateway(tmp_path, collector.endpoint, ratio=1.0) as traced:
        await traced.over_grpc(b"a", parent(T1, sampled=False))
        assert await traced.over_rest(b"b", parent(T2, sampled=False)) == 200
        await traced.over_grpc(b"c", MALFORMED["no trace"])
        assert await traced.over_rest(b"d") == 200
    doors = [span for span in collector.spans if span.kind == "SERVER"]
    assert {span.name for span in doors} == {GRPC_SPAN, REST_SPAN}
    assert {span.parent for span in doors} == {""}
    assert not {T1, T2} & {span.trace for span in collector.spans}


async def test_an_attempt_is_found_from_every_request_of_its_batch(
    collector: Collector, tmp_path: Path
) -> None:
    """It stands in the trace of one, with links to the others; each of these links back."""
    async with traced_gateway(tmp_path, collector.endpoint, pace=Pace(batch_s=0.05)) as traced:
        traced.engine.hang()
        asked = [asyncio.create_task(traced.over_grpc(f"{n}".encode())) for n in range(8)]
        await until(lambda: traced.gateway.service.inflight == len(asked))
        traced.engine.wake()
        await asyncio.gather(*asked)
    doors = {span.id: span for span in collector.named(GRPC_SPAN)}
    attempts = {span.id: span for span in collector.named("attempt")}
    assert len(doors) == 8
    found = {door: attempt.id for attempt in attempts.values() for _, door in attempt.links}
    assert found, "some batch carried several requests"
    assert {door: span.links for door, span in doors.items() if span.links} == {
        door: ((attempts[attempt].trace, attempt),) for door, attempt in found.items()
    }
    assert {span.parent for span in attempts.values()} == doors.keys() - found.keys()
    assert all(
        len(attempt.links) + 1 == attempt.facts["attnserve.batch.images"] for attempt in attempts.values()
    )


async def test_every_attempt_has_its_own_span(
    collector: Collector, tmp_path: Path, lines: list[structlog.typing.EventDict]
) -> None:
    """The failed one says why, and its line in the log names the trace; the next one answers."""
    async with traced_gateway(tmp_path, collector.endpoint, ratio=0.0) as traced:
        traced.engine.fail_next(EngineError("planted", reason="garbled", retryable=True))
        await traced.over_grpc(b"a", parent(T1))
    first, second = collector.named("attempt")
    assert (first.facts["attnserve.attempt"], first.facts["attnserve.outcome"]) == (1, "garbled")
    assert (first.failed, first.facts["error.type"]) == (True, "garbled")
    assert (second.facts["attnserve.attempt"], second.facts["attnserve.outcome"]) == (2, "ok")
    assert first.parent == second.parent
    assert {span.parent for span in collector.named("inference")} == {second.id}
    (door,) = collector.named(GRPC_SPAN)
    assert not door.failed
    assert [line["trace_id"] for line in lines if line["event"] == "attempt failed"] == [T1]


async def test_a_failed_request_is_a_failed_span(collector: Collector, tmp_path: Path) -> None:
    """What the server is to blame for is an error by the conventions of either protocol."""
    async with traced_gateway(tmp_path, collector.endpoint) as traced:
        lost = EngineError("planted", reason="refused", retryable=False)
        traced.engine.fail_next(lost, times=2)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await traced.over_grpc()
        status = await traced.over_rest()
    (over_grpc,), (over_rest,) = collector.named(GRPC_SPAN), collector.named(REST_SPAN)
    assert over_grpc.failed
    assert over_rest.failed
    assert over_grpc.facts["error.type"] == refused.value.code().name
    assert over_rest.facts["error.type"] == str(status)


async def test_every_message_of_a_stream_has_a_trace(collector: Collector, tmp_path: Path) -> None:
    """Each goes on with the context of the call, and says by itself how it ended."""

    async def messages() -> AsyncIterator[bytes]:
        for model in (REF.name, "stranger", REF.name):
            yield message(b"a", model).SerializeToString()

    async with traced_gateway(tmp_path, collector.endpoint, ratio=0.0) as traced:
        ask = traced.channel.stream_stream
        call: Stream = ask(STREAM, response_deserializer=pb.ModelStreamInferResponse.FromString)
        answers = [answer async for answer in call(messages(), metadata=[parent(T1)])]
    assert len(answers) == 3
    doors = collector.named("inference.GRPCInferenceService/ModelStreamInfer")
    assert {(span.trace, span.parent) for span in doors} == {(T1, CALLER)}
    codes = sorted(str(span.facts["rpc.response.status_code"]) for span in doors)
    assert codes == ["NOT_FOUND", "OK", "OK"]


async def test_a_caller_that_leaves_ends_its_trace(collector: Collector, tmp_path: Path) -> None:
    """The door's span says that it was cancelled; that of the wait ends, too."""
    async with traced_gateway(tmp_path, collector.endpoint) as traced:
        traced.engine.hang()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await traced.over_grpc()
        await until(lambda: not traced.gateway.service.inflight)
        traced.engine.wake()
    (door,) = collector.named(GRPC_SPAN)
    assert door.facts["rpc.response.status_code"] == "CANCELLED"
    assert door.facts["attnserve.outcome"] == "cancelled"
    assert len(collector.named("queue")) == 1


async def test_a_bug_is_logged_with_its_trace(
    collector: Collector,
    tmp_path: Path,
    lines: list[structlog.typing.EventDict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At both doors, traced or not: whoever has the caller's trace finds the line."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with traced_gateway(tmp_path, collector.endpoint) as traced:
        monkeypatch.setattr(traced.gateway.service, "infer", broken)
        with pytest.raises(grpc.aio.AioRpcError):
            await traced.over_grpc(b"a", parent(T1))
        assert await traced.over_rest(b"a", parent(T2, sampled=False)) == 500
    assert [line["trace_id"] for line in lines if line["event"] == "internal_error"] == [T1, T2]


@pytest.mark.slow
async def test_a_collector_that_is_away_costs_no_request(
    tmp_path: Path, lines: list[structlog.typing.EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans are lost and that is said once, however many there are; the end does not wait for it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2")  # in which the library tries again
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    async with traced_gateway(tmp_path, "http://127.0.0.1:1") as traced:
        for number in range(40):
            await traced.over_grpc(f"{number}".encode())
            await asyncio.sleep(0.01)
        await until(lambda: bool(said(lines)))
    (line,) = said(lines)
    assert line["endpoint"] == "http://127.0.0.1:1"
    assert "UNAVAILABLE" in line["why"]


def said(lines: list[structlog.typing.EventDict]) -> list[structlog.typing.EventDict]:
    """What was said of traces."""
    return [line for line in lines if line["event"] in ("traces are lost", "tracing")]


@pytest.mark.slow
async def test_it_is_said_when_the_collector_is_back(
    tmp_path: Path, lines: list[structlog.typing.EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And from then on it gets the traces, the last ones at the gateway's end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collecting() as away:
        endpoint = away.endpoint
    async with traced_gateway(tmp_path, endpoint) as traced:
        await traced.over_grpc()
        await until(lambda: bool(said(lines)))
        with collecting(endpoint) as back:
            async with asyncio.timeout(LONGEST_S):
                while not back.spans:
                    await traced.over_grpc()
                    await asyncio.sleep(0.05)
            events = [line["event"] for line in lines if "traces" in line["event"]]
    assert events == ["traces are lost", "traces are sent again"]


@pytest.mark.slow
async def test_a_collector_that_never_answers_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """What it does not take is given up within the time that a drain may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with traced_gateway(tmp_path, endpoint) as traced:
            await traced.over_grpc()
            drain_timeout_s = traced.gateway.config.drain_timeout_s
            begun = time.monotonic()
        assert time.monotonic() - begun < drain_timeout_s
