"""Two stock TorchServes behind one gateway."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import yaml

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.oip import WAYS, ask
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, series_name, started
from tests.e2e.stock import StockTorchServe, stock_torchserve

MODEL = "digits_se"


@pytest.fixture(scope="module")
def second(demo: Demo) -> Iterator[StockTorchServe]:
    """Another TorchServe with the same model."""
    with stock_torchserve(demo.archives, MODEL) as running:
        yield running


@pytest.fixture(scope="module")
def pair(
    torchserve: StockTorchServe, second: StockTorchServe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A gateway whose configuration lists both."""
    config = tmp_path_factory.mktemp("config") / "gateway.yaml"
    engines = [{"address": engine.target, "models": [MODEL]} for engine in (torchserve, second)]
    config.write_text(yaml.safe_dump({"engines": engines, "attempts": {"probe_interval_s": 0.5}}))
    with started({}, "--config", str(config)) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


def attempts(pair: Stack, engine: StockTorchServe, outcome: str = "ok") -> float:
    """Batches that the engine was sent, by the gateway's own count."""
    labels = {"engine": engine.target, "model": MODEL, "outcome": outcome}
    return pair.series().get(series_name("attnserve_engine_attempts_total", **labels), 0.0)


def classify(pair: Stack, demo: Demo, requests: int) -> list[bool]:
    """Whether each of many small requests, some at a time, named its digit rightly."""
    ways = list(WAYS.values())

    def right(number: int) -> bool:
        index = number % len(demo.images)
        return ways[number % len(ways)](pair, ask(MODEL, demo.images[index])).labels == [demo.labels[index]]

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(right, range(requests)))


def test_cards_are_learned_from_the_engines(pair: Stack) -> None:
    """No archive is near the gateway: labels, shapes and digest come by `describe`."""
    wait_until(lambda: len(pair.events("model ready")) == 2, 30, "both engines describe the model")
    metadata = pair.rest.get(f"/v2/models/{MODEL}").json()
    shapes = {tensor["name"]: tensor["shape"] for tensor in metadata["outputs"]}
    assert (shapes["probabilities"], metadata["versions"]) == ([-1, 10], ["1"])
    assert "contents_sha256" in metadata["properties"]


def test_both_engines_work(
    pair: Stack, demo: Demo, torchserve: StockTorchServe, second: StockTorchServe
) -> None:
    """Concurrent requests are spread over both, which the metrics name by their addresses."""
    wait_until(lambda: len(pair.events("model ready")) == 2, 30, "both engines describe the model")
    right = classify(pair, demo, 120)
    assert sum(right) >= 0.95 * len(right)
    assert attempts(pair, torchserve) > 0
    assert attempts(pair, second) > 0


def test_models_change_by_rollout(pair: Stack) -> None:
    """Load and unload are UNIMPLEMENTED / 501, and say why."""
    stub = pb_grpc.GRPCInferenceServiceStub(pair.channel)
    for call, message in (
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=MODEL)),
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=MODEL)),
    ):
        with pytest.raises(grpc.RpcError, match="rollout") as refused:
            call(message, timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for verb in ("load", "unload"):
        response = pair.rest.post(f"/v2/repository/models/{MODEL}/{verb}")
        assert response.status_code == 501
        assert "rollout" in response.json()["error"]


def test_one_engine_dies(
    pair: Stack, demo: Demo, torchserve: StockTorchServe, second: StockTorchServe
) -> None:
    """Every request is still answered, those that met the dead engine by a retry; the gateway stays ready."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(classify, pair, demo, 200)
        before = attempts(pair, second)
        wait_until(lambda: attempts(pair, second) > before + 5, 30, "the second engine is busy")
        second.kill()
        right = running.result(60)
    right += classify(pair, demo, 50)
    assert sum(right) >= 0.95 * len(right)
    assert pair.is_ready()
    retries = pair.series()[series_name("attnserve_engine_retries_total", engine=second.target)]
    failed = sum(attempts(pair, second, outcome) for outcome in ("lost", "unreachable"))
    assert retries == failed
    wait_until(lambda: pair.events("engine ejected") != [], 30, "the dead engine is ejected")
    still = attempts(pair, second)
    assert pair.is_ready()
    before = attempts(pair, torchserve)
    assert sum(classify(pair, demo, 20)) >= 19
    assert (attempts(pair, second), attempts(pair, torchserve) > before) == (still, True)
