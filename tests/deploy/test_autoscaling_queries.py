"""What autoscalers read from Prometheus: its own engine evaluates their queries on counters of known pace."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from deploy.checking.paths import DEPLOY
from loadtests.capacity.autoscaling import concurrency_query, queue_query
from serve.core.messages import ModelRef
from serve.metrics import Metrics

pytestmark = pytest.mark.needs_program("promtool", how="apt install --no-install-recommends prometheus")

ADAPTER = DEPLOY / "monitoring" / "adapter" / "values.yaml"
CONCURRENCY, QUEUE = "attnserve_concurrency", "attnserve_queue_seconds"
MODEL = "digits_se"
INTERVAL_S = 15
ROUNDED = 2**-20  # a power of two, so that what is compared is exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A gateway's counters: how fast each grows, and since when; times in seconds."""

    name: str
    namespace: str = "attnserve"
    model: str = MODEL
    waiting: float = 0.0
    queued: float = 0.0
    answered: float = 0.0

    def series(self) -> list[Mapping[str, str]]:
        """For promtool: every counter begins at 0 and grows by as much at each scrape."""
        labels = f'namespace="{self.namespace}",pod="{self.name}",model="{self.model}"'
        stage = f'{{{labels},stage="queue"}}'
        rates = {
            f"attnserve_predict_seconds_total{{{labels}}}": self.waiting,
            f"attnserve_stage_duration_seconds_sum{stage}": self.queued,
            f"attnserve_stage_duration_seconds_count{stage}": self.answered,
            f'attnserve_stage_duration_seconds_sum{{{labels},stage="inference"}}': 7.0,
            f'attnserve_stage_duration_seconds_count{{{labels},stage="inference"}}': 7.0,
        }
        return [{"series": name, "values": f"0+{INTERVAL_S * rate:g}x40"} for name, rate in rates.items()]


# Two gateways; models and namespaces beside them are of no concern.
BUSY = (
    Pod(name="a", waiting=2.0, queued=0.6, answered=20.0),
    Pod(name="b", waiting=1.5, queued=0.3, answered=10.0),
    Pod(name="a", model="digits_eca", waiting=9.0, queued=9.0, answered=9.0),
    Pod(name="c", namespace="staging", waiting=9.0, queued=9.0, answered=9.0),
)
IDLE = (Pod(name="a"), Pod(name="b"))
# A request a minute that waits 1.2 s, say for a worker's start: 0.02 in hand, and no load.
LONELY = (Pod(name="a", waiting=0.02, queued=0.02, answered=1 / 60),)
# Two a second that take 0.5 s each, on two workers that are half busy: 68 ms of waiting are above the guard.
FEW = (Pod(name="a", waiting=1.14, queued=0.136, answered=2.0),)
# By hand: 2 + 1.5 in hand; 0.9 s of waiting a second in 30 answers a second.
CASES = {
    "busy": (BUSY, [MODEL], 3.5, 0.03),
    "two models of one worker": (BUSY, [MODEL, "digits_eca"], 12.5, 9.9 / 39.0),
    "idle": (IDLE, [MODEL], 0.0, 0.0),
    "one slow request a minute": (LONELY, [MODEL], 0.02, 0.002),
    "a few on slow workers": (FEW, [MODEL], 1.14, 0.0136),
    "absent": ((), [MODEL], None, None),
    "absent model": (IDLE, ["digits_sk"], None, None),
}


def rules() -> dict[str, dict[str, Any]]:
    """The adapter's rules by the metric that they make."""
    found = yaml.safe_load(ADAPTER.read_text())["rules"]["external"]
    return {rule["name"]["as"]: rule for rule in found}


def adapted(metric: str, models: Sequence[str]) -> str:
    """The query that the adapter makes for an HPA in attnserve: the selector's labels, then the namespace."""
    rule = rules()[metric]
    one = f'model="{models[0]}"' if len(models) == 1 else f'model=~"{"|".join(models)}"'
    matchers = f'{one},namespace="attnserve"'
    series = rule["seriesQuery"].partition("{")[0]
    query: str = rule["metricsQuery"]
    return query.replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)


def evaluate(pods: Sequence[Pod], expected: Mapping[str, float | None], folder: Path) -> str:
    """What Prometheus' engine says against expected values of queries after 8 minutes; "" when it agrees."""
    series = {json.dumps(one): one for pod in pods for one in pod.series()}
    if not series:
        series = {"": {"series": "up", "values": "1x40"}}
    test = {
        "interval": f"{INTERVAL_S}s",
        "input_series": list(series.values()),
        "promql_expr_test": [
            {
                "expr": f"round({query}, {ROUNDED})",
                "eval_time": "8m",
                "exp_samples": []
                if value is None
                else [{"labels": "{}", "value": ROUNDED * round(value / ROUNDED)}],
            }
            for query, value in expected.items()
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(("pods", "models", "waiting", "queued"), CASES.values(), ids=CASES)
def test_hpa_and_keda_read_the_same_right_numbers(
    pods: Sequence[Pod], models: Sequence[str], waiting: float | None, queued: float | None, tmp_path: Path
) -> None:
    """Under load what is in hand and queued, 0 without traffic, nothing at all where series are absent."""
    expected = {
        adapted(CONCURRENCY, models): waiting,
        adapted(QUEUE, models): queued,
        concurrency_query(models, namespace="attnserve") + " + 0": waiting,
        queue_query(models, namespace="attnserve") + " + 0": queued,
    }
    assert len(expected) == 4
    assert evaluate(pods, expected, tmp_path) == ""


def test_a_wrong_number_would_be_found(tmp_path: Path) -> None:
    """The evaluation above can fail."""
    assert "FAILED" in evaluate(BUSY, {adapted(CONCURRENCY, [MODEL]): 3.6}, tmp_path)


def test_the_rules_find_series_of_the_gateway(tmp_path: Path) -> None:
    """What the adapter looks for is what a gateway shows, once Prometheus has added the namespace."""
    metrics = Metrics(CollectorRegistry())
    metrics.start_model(ModelRef(name=MODEL, version="1"))
    shown = generate_latest(metrics.registry).decode()
    for metric in (CONCURRENCY, QUEUE):
        rule = rules()[metric]
        name = rule["seriesQuery"].partition("{")[0]
        assert rule["name"]["matches"] == f"^{name}$"
        assert f'{name}{{model="{MODEL}"' in shown
        assert rule["resources"] == {"overrides": {"namespace": {"resource": "namespace"}}}
        assert evaluate(IDLE, {f"count({rule['seriesQuery']})": 2.0}, tmp_path) == ""


def test_every_metric_of_an_hpa_has_a_rule() -> None:
    """The names are those of the rules, no more and no less."""
    asked = {
        metric["external"]["metric"]["name"]
        for path in DEPLOY.glob("variants/*/hpa/worker-hpa.yaml")
        for metric in yaml.safe_load(path.read_text())["spec"]["metrics"]
    }
    assert asked == set(rules())
