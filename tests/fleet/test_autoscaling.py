"""The committed HorizontalPodAutoscaler on live metrics, with real pods that come and go.

A cluster looks every 15 s and waits for minutes; here all its times, and the windows of its queries, are
FASTER times shorter. A worker's answers take ANSWER_S on their way, and a gateway sends it two batches of
one image at a time, so that two gateways get 4 / ANSWER_S answers a second of it on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import yaml

from tests.e2e.demo import ROOT
from tests.e2e.processes import wait_until
from tests.faults.stage import assert_none_lost
from tests.fleet import adapter, hpa
from tests.fleet.deployment import Deployment
from tests.fleet.hpa_object import External, Rules, Spec
from tests.fleet.monitoring import NAMESPACE, Prometheus, prometheus
from tests.fleet.stage import Fleet, Traffic
from tests.fleet.table import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_program("ip", how="apt install iproute2"),
    pytest.mark.needs_program("unshare", how="apt install util-linux"),
    pytest.mark.needs_program("dnsmasq", how="apt install dnsmasq-base"),
    pytest.mark.needs_program("prometheus", how="apt install prometheus"),
]

OBJECT = ROOT / "deploy" / "variants" / "se" / "hpa" / "worker-hpa.yaml"
FASTER = 15.0
SYNC_S = 15.0 / FASTER
MOST_PODS = 3  # for the sake of the machine's memory
ANSWER_S = 0.2
CAPACITY = 4 / ANSWER_S
LOW, HIGH = 0.3 * CAPACITY, 1.5 * CAPACITY
# A start of TorchServe's: what comes meanwhile and is too much must wait.
DEADLINE_S = 30.0
UP_S, SETTLED_S, DOWN_S = 90.0, 60.0, 90.0


def committed() -> Spec:
    """The object, faster, with a guard for workers so slow and with a maximum for this machine."""
    spec = Spec.read(yaml.safe_load(OBJECT.read_text())).faster(FASTER)
    concurrency, queue = spec.metrics
    metrics = (concurrency, replace(queue, target=ANSWER_S))
    return replace(spec, metrics=metrics, max_replicas=MOST_PODS)


def read(metric: External, source: Prometheus) -> float | None:
    """A metric's value now, as the adapter gives it."""
    return source.value(adapter.faster(adapter.query(metric, NAMESPACE), FASTER))


def proposals(spec: Spec, source: Prometheus, replicas: int, ready: int) -> list[int | None]:
    """What each of the metrics asks for."""
    wanted: list[int | None] = []
    for metric in spec.metrics:
        found = read(metric, source)
        if found is None:
            wanted.append(None)
        elif metric.kind == "AverageValue":
            wanted.append(hpa.average_value(found, metric.target, replicas, spec.tolerance))
        else:
            wanted.append(hpa.value(found, metric.target, replicas, ready, spec.tolerance))
    return wanted


@dataclass(kw_only=True)
class Controller:
    """The loop: looks, decides, scales.

    Attributes:
        scaler: Decides.
        source: Is asked.
        deployment: Is scaled.
        counts: How many replicas there were to be, at each look.
    """

    scaler: hpa.Autoscaler
    source: Prometheus
    deployment: Deployment
    counts: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Once, and wait for the next time."""
        spec, deployment = self.scaler.spec, self.deployment
        wanted = proposals(spec, self.source, deployment.replicas, deployment.ready)
        decided = self.scaler.decide(time.monotonic(), deployment.replicas, wanted)
        if decided != deployment.replicas:
            deployment.scale(decided)
        self.counts.append(decided)
        time.sleep(SYNC_S)

    def look_for(self, seconds: float) -> None:
        """Go on for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()


@pytest.fixture(scope="module")
def deployment(fleet: Fleet) -> Iterator[Deployment]:
    """One slow worker, behind two gateways that send it single images."""
    made = Deployment(fleet, ANSWER_S)
    with made.open():
        made.scale(1)
        single = {"ATTNSERVE_BATCHING_MAX_BATCH_IMAGES": "1"}
        gateways = [fleet.gateway(**single) for _ in range(2)]
        wait_until(lambda: made.ready == 1, 90, "the first worker is ready")
        fleet.admit(*gateways)
        yield made


@pytest.fixture
def source(fleet: Fleet, deployment: Deployment) -> Iterator[Prometheus]:
    """A Prometheus that has the metrics of both gateways."""
    assert deployment.ready
    with prometheus(fleet.node, fleet.resolving) as running:
        metrics = committed().metrics
        wait_until(lambda: all(read(one, running) is not None for one in metrics), 30, "there are metrics")
        yield running


def test_the_load_steps_up_and_down(fleet: Fleet, deployment: Deployment, source: Prometheus) -> None:
    """Pods are added until answers are quick again, and taken away one by one; no request is lost."""
    spec = committed()
    controller = Controller(scaler=hpa.Autoscaler(spec), source=source, deployment=deployment)
    with fleet.traffic(LOW, DEADLINE_S) as traffic:
        controller.look_for(5)
        traffic.at(HIGH)
        up_s = _until(controller, lambda: 1 < deployment.ready == deployment.replicas, UP_S)
        settled_s = up_s + _until(controller, lambda: _p90_s(traffic) < 2.5 * ANSWER_S, SETTLED_S)
        controller.look_for(fleet.phase_s)
        traffic.at(LOW)
        down_s = _until(controller, lambda: deployment.replicas == spec.min_replicas, DOWN_S)
        controller.look_for(3)
        ledger = traffic.load.end().since(traffic.began)
    assert_none_lost(ledger)
    counts = controller.counts
    steps = [after - before for before, after in pairwise(counts) if after != before]
    assert set(counts) <= set(range(spec.min_replicas, MOST_PODS + 1))
    assert max(counts) > spec.min_replicas
    assert counts[-1] == spec.min_replicas
    assert set(steps) <= {-1, 1, 2}
    path = " → ".join(map(str, [counts[0], *(b for a, b in pairwise(counts) if a != b)]))
    seen = f"{path} workers; up after {up_s:.0f} s, quick after {settled_s:.0f} s, down after {down_s:.0f} s"
    how = f"{LOW:g}, {HIGH:g}, {LOW:g} requests a second; one worker answers {CAPACITY:g}"
    fleet.rows.append(Row(event="load up and down", how=how, ledger=ledger, seen=seen))


def test_prometheus_is_down(fleet: Fleet, source: Prometheus) -> None:
    """Without metrics the number stays, though by the metrics it should be the least; so with absent ones."""
    at_once = Rules(window_s=0, policies=committed().behaviour.down.policies)
    behaviour = replace(committed().behaviour, down=at_once)
    spec = replace(committed(), behaviour=behaviour)
    absent = tuple(replace(one, labels={"model": "none"}) for one in spec.metrics)

    def decided(given: Spec) -> int:
        scaler, now = hpa.Autoscaler(given), time.monotonic()
        scaler.decide(now - 60, MOST_PODS, [MOST_PODS])
        return scaler.decide(now, MOST_PODS, proposals(given, source, MOST_PODS, MOST_PODS))

    with fleet.traffic(LOW, DEADLINE_S):
        wait_until(lambda: decided(spec) == MOST_PODS - 1, 30, "by the metrics one of the pods can go")
        assert decided(replace(spec, metrics=(spec.metrics[0], absent[1]))) == MOST_PODS
        assert decided(replace(spec, metrics=absent)) == MOST_PODS
        source.stop()
        assert decided(spec) == MOST_PODS


def _until(controller: Controller, holds: Callable[[], bool], seconds: float) -> float:
    """Let the loop run until a condition holds; gives the time in seconds that this took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + seconds, f"not within {seconds:g} s; replicas {controller.counts}"
        controller.look()
    return time.monotonic() - began


def _p90_s(traffic: Traffic) -> float:
    """Of the requests of the last seconds."""
    return traffic.load.ledger().since(time.monotonic() - 3).quantile_s(0.9)
