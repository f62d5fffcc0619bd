"""The metrics page counts exactly what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml

from tests.e2e.demo import Demo
from tests.e2e.oip import RefusedError, Way, ask, call_bytes, grpc_raw, grpc_typed, rest_binary, rest_json
from tests.e2e.stacks import Series, Stack, matching, series_name, started
from tests.e2e.stock import StockTorchServe

MODEL = "digits_se"
REFUSED = ("INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED", 400, 404, 504)


@pytest.fixture
def fresh(torchserve: StockTorchServe, tmp_path: Path) -> Iterator[Stack]:
    """A gateway that nobody has asked anything."""
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({"engines": [{"address": torchserve.target, "models": [MODEL]}]}))
    with started({}, "--config", str(config)) as running:
        running.wait_ready()
        yield running


def requests(series: Series, protocol: str, outcome: str, model: str = MODEL, version: str = "1") -> float:
    """A counter of requests."""
    labels = {"model": model, "version": version, "protocol": protocol, "outcome": outcome}
    return series[series_name("attnserve_requests_total", **labels)]


def test_series_exist_from_the_start(fresh: Stack, torchserve: StockTorchServe) -> None:
    """Every series is there at 0 before the first request, so that rates are right from the first one on."""
    series = fresh.series()
    engine = torchserve.target
    counted = {
        **matching(series, r"attnserve_(requests|images|batch_release|engine_\w+)_total\{.*"),
        **matching(series, r"attnserve_\w+_count\{.*"),
        **matching(series, r"attnserve_(inflight_requests|queue_images)\{.*"),
    }
    assert set(counted.values()) == {0.0}
    outcomes = ("ok", "client_error", "shed", "timeout", "cancelled", "unavailable", "internal")
    expected = {
        series_name(
            "attnserve_requests_total", model=model, version=version, protocol=protocol, outcome=outcome
        )
        for model, version in ((MODEL, "1"), ("unknown", ""))
        for protocol in ("grpc", "http")
        for outcome in outcomes
    }
    expected |= {
        series_name("attnserve_images_total", model=MODEL, version="1", outcome=outcome)
        for outcome in outcomes
    }
    expected |= {
        series_name("attnserve_stage_duration_seconds_count", model=MODEL, stage=stage)
        for stage in ("queue", "decode", "inference", "encode")
    }
    expected |= {
        series_name("attnserve_batch_release_total", model=MODEL, reason=reason)
        for reason in ("idle", "full", "deadline")
    }
    expected |= {
        series_name("attnserve_batch_images_count", model=MODEL),
        series_name("attnserve_inflight_requests", model=MODEL),
        series_name("attnserve_queue_images", model=MODEL),
        series_name("attnserve_engine_attempts_total", model=MODEL, engine=engine, outcome="ok"),
        series_name("attnserve_engine_retries_total", engine=engine),
        series_name("attnserve_engine_restarts_total", engine=engine),
    }
    assert expected - counted.keys() == set()
    assert series[series_name("attnserve_model_ready", model=MODEL, version="1")] == 1


def send(stack: Stack, demo: Demo) -> None:
    """A known mix: per protocol 3 good requests of 1, 2 and 3 images, 1 partial, 5 that fail, 1 too late."""
    good, bad = demo.images, b"bad"
    pairs: tuple[tuple[Way, Way], ...] = ((grpc_raw, grpc_typed), (rest_json, rest_binary))
    for first, second in pairs:
        for count in (1, 2, 3):
            first(stack, ask(MODEL, *good[:count]))
        second(stack, ask(MODEL, good[0], bad, bad, parameters={"partial": True}))
        for question in (
            ask(MODEL, good[0], bad),
            ask(MODEL, good[0], outputs={"labels": {}}),
            ask("stranger", good[0]),
            ask("stranger-2", good[0]),
            ask(MODEL, good[0], version="9"),
            ask(MODEL, good[0], parameters={"timeout": 1}),
        ):
            with pytest.raises(RefusedError) as refused:
                second(stack, question)
            assert refused.value.status in REFUSED


def test_counters_agree_with_what_was_sent(fresh: Stack, demo: Demo, torchserve: StockTorchServe) -> None:
    """Requests and images by outcome, batches, durations: nothing is counted twice or forgotten."""
    send(fresh, demo)
    series = fresh.series()
    for protocol in ("grpc", "http"):
        assert requests(series, protocol, "ok") == 4
        assert requests(series, protocol, "client_error") == 2
        assert requests(series, protocol, "timeout") == 1
        assert requests(series, protocol, "client_error", model="unknown", version="") == 3
        duration = {"model": MODEL, "version": "1", "protocol": protocol}
        assert series[series_name("attnserve_request_duration_seconds_count", **duration)] == 7
    assert sum(matching(series, r"attnserve_requests_total\{.*").values()) == 20
    images = matching(series, r"attnserve_images_total\{.*")
    # Where a request fails as a whole, so do all of its images.
    expected = {"ok": 2 * (1 + 2 + 3 + 1), "client_error": 2 * (2 + 2), "timeout": 2 * 1}
    for outcome, count in {**expected, "unavailable": 0, "internal": 0, "cancelled": 0, "shed": 0}.items():
        assert (
            images[series_name("attnserve_images_total", model=MODEL, version="1", outcome=outcome)] == count
        )
    batches = series[series_name("attnserve_batch_images_count", model=MODEL)]
    attempts = series_name(
        "attnserve_engine_attempts_total", model=MODEL, engine=torchserve.target, outcome="ok"
    )
    assert batches == series[attempts]
    assert batches == sum(matching(series, r"attnserve_batch_release_total\{.*").values())
    assert series[series_name("attnserve_inflight_requests", model=MODEL)] == 0
    assert series[series_name("attnserve_queue_images", model=MODEL)] == 0


def test_strangers_get_no_series(fresh: Stack, demo: Demo) -> None:
    """Whatever names callers make up, the page does not grow."""
    before = fresh.series().keys()
    for number in range(30):
        for way in (grpc_raw, rest_binary):
            with pytest.raises(RefusedError):
                way(fresh, ask(f"stranger-{number}", demo.images[0], version=str(number)))
    fresh.rest.post("/v2/models/made%2Fup/infer", content=b"{}")
    with pytest.raises(grpc.RpcError):
        call_bytes(fresh, b"\xff")
    after = fresh.series()
    assert after.keys() == before
    assert not any("stranger" in name for name in after)
    assert requests(after, "grpc", "client_error", model="unknown", version="") == 31
