"""No panel is empty: every query of every panel, asked of a real Prometheus that scraped a real gateway.

The gateway has two nets on a TorchServe of its own, a token, and two experiments under way; callers come
through both doors, some with requests that fail. GPUs and Kubernetes, of which there are none here, are shown
by files in the formats of their exporters.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import grpc
import httpx
import pytest

from deploy.monitoring.dashboards.collection import (
    EVERYTHING,
    Expression,
    dashboards,
    expressions,
    substituted,
)
from deploy.monitoring.dashboards.gpu import GAUGES, Gauge
from serve.experiment_client import ExperimentClient, experiments_at
from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.deploy.live_fleet import HERE, NAMESPACE, Asked, exporters, prometheus
from tests.e2e.demo import Demo, build_demo
from tests.e2e.experimenter import infer_body, two_arms
from tests.e2e.processes import attnserve
from tests.e2e.stacks import Stack, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.needs_program("prometheus", how="apt install --no-install-recommends prometheus"),
]

MODELS = ("digits_eca", "digits_se")
# A rate needs two scrapes with something between them; more rounds make curves that one can look at.
TRAFFIC_S = 5.0
CALLERS = 3
CALLER = "sorter"
DAYS = 30
GUARDRAILS = [{"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}]
EXPERIMENTS = MappingProxyType(
    {
        f"{mode}-trial": two_arms("digits_se", "digits_eca", mode, guardrails=GUARDRAILS)
        for mode in ("split", "paired")
    }
)
# As Grafana does when somebody has chosen: several values are one pattern.
CHOSEN = {
    **EVERYTHING,
    "$namespace": NAMESPACE,
    "$model": "(digits_eca|digits_se)",
    "$version": "1",
    "$experiment": "(split-trial|paired-trial)",
    "$pod": "(worker-se.*|worker-eca.*)",
}
# The same state of two nodes, by the names of two releases of the exporter.
POD, POD_4_9 = "worker-se-6c9f7d8b5c-x2x7q", "worker-eca-5d4c8b7f9d-k8s4m"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was asked of the gateway has reached Prometheus.

    Attributes:
        since: When the first request came, Unix time.
    """

    asked: Asked
    since: float

    def values(self, expression: Expression) -> list[tuple[dict[str, str], list[float]]]:
        """What the panel would show."""
        return self.asked.values(expression.promql, None if expression.instant else self.since)

    def panel(self, dashboard: str, panel: str) -> list[tuple[dict[str, str], list[float]]]:
        """What all queries of that panel would show."""
        found = [one for one in expressions(CHOSEN) if (one.dashboard, one.panel) == (dashboard, panel)]
        assert found
        return [series for one in found for series in self.values(one)]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody with a token, at both doors."""

    stack: Stack
    secret: str
    demo: Demo

    def until(self, ends: float, number: int) -> None:
        """Ask round after round, at least one."""
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        with (
            httpx.Client(
                base_url=self.stack.addresses["http"], headers=headers, timeout=60, trust_env=False
            ) as rest,
            experiments_at(self.stack.addresses["http"], self.secret) as client,
        ):
            turn = 0
            while turn == 0 or time.monotonic() < ends:
                turn += 1
                self._round(rest, client, f"{number}-{turn}")

    def _round(self, rest: httpx.Client, client: ExperimentClient, unit: str) -> None:
        good, label = self.demo.images[0], self.demo.labels[0]
        for model in MODELS:
            assert _infer(rest, model, good, good).is_success
            self._grpc(model, good)
        for experiment in EXPERIMENTS:
            answer = _infer(rest, experiment, good, unit=unit)
            assert answer.is_success, answer.text
            token = answer.json()["parameters"]["feedback_token"]
            client.outcomes(experiment, [{"feedback_token": token, "label": label}])
        assert _infer(rest, MODELS[0], b"no image").status_code == httpx.codes.BAD_REQUEST
        assert _infer(rest, "stranger", good).status_code == httpx.codes.NOT_FOUND
        self._grpc("stranger", good)

    def _grpc(self, model: str, image: bytes) -> None:
        tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(image)
        message = pb.ModelInferRequest(model_name=model, inputs=[tensor])
        stub = pb_grpc.GRPCInferenceServiceStub(self.stack.channel)
        with suppress(grpc.RpcError):  # of the stranger
            stub.ModelInfer(message, timeout=60, metadata=(("authorization", f"Bearer {self.secret}"),))


def _infer(rest: httpx.Client, name: str, *images: bytes, unit: str = "u") -> httpx.Response:
    return rest.post(f"/v2/models/{name}/infer", content=infer_body(*images), headers={"X-Unit-Id": unit})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A gateway that was asked all kinds of things, and a Prometheus that saw it."""
    folder, demo = tmp_path_factory.mktemp("live"), build_demo()
    secret, line = attnserve("token", CALLER, "--role", "operate", "--days", DAYS).stdout.splitlines()
    (folder / "tokens.yaml").write_text(line)
    settings = {
        "ATTNSERVE_MODEL_STORE": str(demo.archives),
        "ATTNSERVE_MODELS": json.dumps(MODELS),
        "ATTNSERVE_TOKENS_FILE": str(folder / "tokens.yaml"),
        "ATTNSERVE_EXPERIMENTS_POLL_INTERVAL_S": "0.2",
    }
    pages = sorted(HERE.glob("*.prom"))
    with started(settings) as stack, exporters(pages) as shown:
        stack.wait_ready()
        caller = Caller(stack=stack, secret=secret, demo=demo)
        with prometheus(folder, stack.addresses["metrics"], shown, [page.stem for page in pages]) as asked:
            _start_experiments(caller, asked)
            since = time.time()
            _ask(caller)
            _wait_for_the_last(asked)
            yield Watched(asked=asked, since=since)
        assert stack.end() == 0


def _start_experiments(caller: Caller, asked: Asked) -> None:
    with experiments_at(caller.stack.addresses["http"], caller.secret) as client:
        for name, design in EXPERIMENTS.items():
            client.create({"name": name, **design}, "a test")
            client.act(name, "start", {"reason": "a test"}, None)
    live = "count(count by (experiment) (attnserve_experiment_verdict)) == 2"
    asked.wait_until(lambda: bool(asked.values(live)), "Prometheus has seen both experiments")


def _ask(caller: Caller) -> None:
    ends = time.monotonic() + TRAFFIC_S
    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(caller.until, ends, number) for number in range(CALLERS)]:
            done.result()


def _wait_for_the_last(asked: Asked) -> None:
    """Until scrapes, and the rules after them, began when all was over."""
    over = time.time()
    last = ("up", "attnserve:slo_failures:ratio_rate3d")
    fresh = " and on () ".join(f"min(timestamp({series})) > {over}" for series in last)
    asked.wait_until(lambda: bool(asked.values(fresh)), "Prometheus has seen the last request")


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(one, id=f"{one.dashboard}: {one.panel} {number}")
        for number, one in enumerate(expressions(CHOSEN))
    ],
)
def test_no_panel_is_empty(watched: Watched, expression: Expression) -> None:
    """Each query finds series that its legend can name, one at least with a number: 0 is one, NaN is not."""
    found = watched.values(expression)
    named = set(re.findall(r"{{(\w+)}}", expression.legend))
    assert [series for series, _ in found if named - series.keys()] == []
    assert found, expression.promql
    assert any(values for _, values in found), expression.promql


@pytest.mark.parametrize("name", dashboards())
def test_every_variable_has_something_to_choose(watched: Watched, name: str) -> None:
    """Grafana turns label_values(METRIC, LABEL) into a question for the label's values."""
    for variable in (dashboards()[name].templating.list_val or [])[1:]:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.query))
        assert found
        metric = substituted(found[1], EVERYTHING)
        assert watched.asked.get(f"label/{found[2]}/values", **{"match[]": metric}), metric


def test_arms_are_side_by_side(watched: Watched) -> None:
    """Both arms of both experiments have each of the three quantiles, and took time."""
    for panel in ("p50 by arm", "p95 by arm", "p99 by arm"):
        found = {
            (one["experiment"], one["arm"]): values for one, values in watched.panel("experiment", panel)
        }
        assert found.keys() == {(name, arm) for name in EXPERIMENTS for arm in MODELS}
        assert all(value > 0 for values in found.values() for value in values)


def test_failures_of_callers_are_no_failures_of_ours(watched: Watched) -> None:
    """Bad images and strangers are seen as client_error, and burn no budget."""
    outcomes = {
        one["outcome"]: values for one, values in watched.panel("fleet", "Requests a second by outcome")
    }
    assert max(outcomes["client_error"]) > 0
    assert max(outcomes["ok"]) > 0
    for panel in ("Failed requests", "Budget burn"):
        assert {value for _, values in watched.panel("fleet", panel) for value in values} == {0}


def test_shares_of_a_split_add_up(watched: Watched) -> None:
    """At every moment the arms of an experiment have all of its requests between them."""
    found = watched.panel("experiment", "Share of the requests by arm")
    for name in EXPERIMENTS:
        last = [values[-1] for series, values in found if series["experiment"] == name]
        assert len(last) == len(MODELS)
        assert sum(last) == pytest.approx(1)


def test_the_token_ends_when_it_was_said_to(watched: Watched) -> None:
    """The panel counts down from the days that the token was made for; the certificate never ends."""
    ((series, (left,)),) = watched.panel("fleet", "Tokens end in")
    assert series["token"] == CALLER
    assert DAYS - 2 < left / 86_400 <= DAYS + 1
    ((_, (never,)),) = watched.panel("fleet", "Certificate ends in")
    assert never == float("inf")


@pytest.mark.parametrize("gauge", [pytest.param(gauge, id=gauge.name) for gauge in GAUGES])
def test_a_gpu_is_the_same_by_either_name(watched: Watched, gauge: Gauge) -> None:
    """Both releases of the exporter give the same value in base units."""
    query = f"max by (pod) {gauge.of(f'namespace={NAMESPACE!r}')}"
    found = {one["pod"]: values for one, values in watched.asked.values(query)}
    assert found.keys() == {POD, POD_4_9}
    assert found[POD] == pytest.approx(found[POD_4_9])


def test_gpus_of_both_releases_are_shown(watched: Watched) -> None:
    """In every panel of GPUs; the GPU that no pod uses is in none."""
    for panel in ("Utilisation", "Engine active", "Memory used", "Memory used, share", "Power", "Clock"):
        assert {one["pod"] for one, _ in watched.panel("gpu", panel)} == {POD, POD_4_9}


def test_kubernetes_is_shown(watched: Watched) -> None:
    """Of each Deployment what is wanted and what is available: one pod of worker-eca is not."""
    found = [(one["deployment"], values[-1]) for one, values in watched.panel("fleet", "Replicas")]
    assert sorted(value for name, value in found if name == "worker-eca") == [1, 2]
    assert {name for name, _ in found} == {"gateway", "worker-se", "worker-eca", "worker-sk"}


def test_only_the_watchdog_fires(watched: Watched) -> None:
    """A healthy fleet makes no alert fire: neither with traffic, nor after it."""
    found = {one["alertname"] for one, _ in watched.panel("fleet", "Alerts")}
    assert found == {"AttnserveWatchdog"}
