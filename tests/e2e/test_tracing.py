"""Traces through a real TorchServe, as a collector and a real Prometheus get them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from serve.pb import open_inference_pb2 as pb
from tests.e2e.demo import Demo
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, started
from tests.e2e.stock import StockTorchServe
from tests.prometheus import running_prometheus
from tests.tracing.collector import Collector, Span, collecting
from tests.tracing.gateway import MODEL_INFER, message, parent

pytestmark = pytest.mark.slow

MODEL = "digits_se"
CALLER = "b7ad6b7169203331"
OVER_GRPC, OVER_REST, NOT_SAMPLED = "1" * 32, "2" * 32, "3" * 32
SOON_S = 20.0
DOORS = {
    OVER_GRPC: "inference.GRPCInferenceService/ModelInfer",
    OVER_REST: "POST /v2/models/{model}/infer",
}
STAGES = ("decode", "inference", "encode")


def ask_grpc(stack: Stack, image: bytes, header: tuple[str, str]) -> str:
    """Ask over gRPC; gives the model that answered."""
    ask = stack.channel.unary_unary
    call: grpc.UnaryUnaryMultiCallable[bytes, pb.ModelInferResponse] = ask(
        MODEL_INFER, response_deserializer=pb.ModelInferResponse.FromString
    )
    return call(message(image, MODEL).SerializeToString(), metadata=(header,), timeout=60).model_name


def ask_rest(stack: Stack, image: bytes, header: tuple[str, str]) -> int:
    """Ask over REST, with the image as binary data; gives the status."""
    head = (
        b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],'
        b'"parameters":{"binary_data_size":%d}}]}' % (4 + len(image))
    )
    body = head + len(image).to_bytes(4, "little") + image
    headers = dict([header, ("Inference-Header-Content-Length", str(len(head)))])
    return stack.rest.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers).status_code


@contextmanager
def traced_stack(torchserve: StockTorchServe, endpoint: str, folder: Path) -> Iterator[Stack]:
    """A gateway that traces what its callers have traced, and nothing else."""
    config = folder / "gateway.yaml"
    engines = [{"address": torchserve.target, "models": [MODEL]}]
    tracing = {"endpoint": endpoint, "sample_ratio": 0.0}
    config.write_text(yaml.safe_dump({"engines": engines, "tracing": tracing}))
    with started({}, "--config", str(config)) as running:
        running.wait_ready()
        yield running


@contextmanager
def prometheus(folder: Path, metrics: str) -> Iterator[str]:
    """One that keeps exemplars and scrapes that page every second; gives its address."""
    host, path = metrics.removeprefix("http://").split("/", 1)
    jobs = [{"job_name": "gateway", "metrics_path": f"/{path}", "static_configs": [{"targets": [host]}]}]
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    with running_prometheus(folder, config, "--enable-feature=exemplar-storage") as url:
        yield url


def exemplars(url: str) -> dict[str, dict[str, str]]:
    """The labels of the series whose exemplars Prometheus has, by the traces that these name."""
    now = time.time()
    query: dict[str, str | float] = {
        "query": "attnserve_request_duration_seconds_bucket",
        "start": now - 300,
        "end": now + 60,
    }
    try:
        found = httpx.get(f"{url}/api/v1/query_exemplars", params=query, timeout=5, trust_env=False)
    except httpx.TransportError:  # it has just been started
        return {}
    series: list[dict[str, Any]] = found.json()["data"] if found.is_success else []
    return {
        exemplar["labels"]["trace_id"]: one["seriesLabels"] for one in series for exemplar in one["exemplars"]
    }


def check_trace(spans: dict[str, Span], door: Span, engine: str) -> None:
    """See that one request's spans are all there, each under its parent and in its time."""
    attempt, queue = spans["attempt"], spans["queue"]
    assert spans.keys() == {door.name, "queue", "attempt", *STAGES}
    assert (door.parent, door.kind, attempt.kind) == (CALLER, "SERVER", "CLIENT")
    assert queue.parent == attempt.parent == door.id
    assert {spans[stage].parent for stage in STAGES} == {attempt.id}
    assert not [span for span in spans.values() if span.links or span.failed]
    assert door.holds(queue)
    assert door.holds(attempt)
    moments = [
        attempt.start_ns,
        *(at for stage in STAGES for at in (spans[stage].start_ns, spans[stage].end_ns)),
    ]
    assert moments == sorted(moments)
    assert queue.end_ns <= attempt.start_ns
    assert spans["encode"].end_ns == attempt.end_ns
    assert spans["inference"].end_ns > spans["inference"].start_ns, "a net takes time"
    assert attempt.facts["attnserve.engine"] == engine
    assert door.facts["attnserve.model.name"] == MODEL


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that keeps what it gets."""
    with collecting() as one:
        yield one


@pytest.mark.needs_program("prometheus", how="apt install --no-install-recommends prometheus")
def test_one_trace_leads_from_the_caller_to_the_worker_and_from_prometheus_to_it(
    torchserve: StockTorchServe, demo: Demo, collector: Collector, tmp_path: Path
) -> None:
    """Over gRPC and REST; a caller that does not sample has no spans and no exemplar."""
    image = demo.images[0]
    with (
        traced_stack(torchserve, collector.endpoint, tmp_path) as stack,
        prometheus(tmp_path, stack.addresses["metrics"]) as url,
    ):
        assert ask_grpc(stack, image, parent(NOT_SAMPLED, sampled=False)) == MODEL
        assert ask_rest(stack, image, parent(NOT_SAMPLED, sampled=False)) == 200
        assert ask_grpc(stack, image, parent(OVER_GRPC)) == MODEL
        assert ask_rest(stack, image, parent(OVER_REST)) == 200
        wait_until(lambda: len(exemplars(url)) > 1, SOON_S, "Prometheus has the exemplars")
        found = exemplars(url)
        assert stack.end() == 0
    assert {trace: series["protocol"] for trace, series in found.items()} == {
        OVER_GRPC: "grpc",
        OVER_REST: "http",
    }
    assert {span.trace for span in collector.spans} == {OVER_GRPC, OVER_REST}
    for trace, name in DOORS.items():
        spans = collector.trace(trace)
        check_trace(spans, spans[name], torchserve.target)
