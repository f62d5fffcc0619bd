"""What the committed autoscalers ask for is what the metrics adapter has rules for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e.demo import ROOT
from tests.fleet import adapter
from tests.fleet.hpa_object import External, Spec

OBJECTS = sorted((ROOT / "deploy" / "variants").glob("*/hpa/worker-hpa.yaml"))


def test_a_query_is_made_of_rule_and_selector() -> None:
    """The series and the labels stand where the rule has them."""
    metric = External(name="attnserve_concurrency", labels={"model": "a"}, kind="AverageValue", target=1)
    made = adapter.query(metric, "space")
    assert made == 'sum(rate(attnserve_predict_seconds_total{namespace="space",model="a"}[1m]))'
    assert adapter.faster(made, 15).endswith("[4000ms]))")


def test_a_metric_without_a_rule_is_an_error() -> None:
    """It would be one in the cluster, too: the autoscaler would stand still."""
    with pytest.raises(KeyError, match="latency"):
        adapter.query(External(name="latency", labels={}, kind="Value", target=1), "space")


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.parts[-3])
def test_every_committed_autoscaler_has_its_queries(path: Path) -> None:
    """Two metrics, of one model each; never fewer than one worker, and none taken away in haste."""
    spec = Spec.read(yaml.safe_load(path.read_text()))
    queries = [adapter.query(metric, "space") for metric in spec.metrics]
    models = {model for text in queries for model in re.findall(r'model="(\w+)"', text)}
    assert len(queries) == 2
    assert len(models) == 1
    assert all('namespace="space"' in text and "<<" not in text for text in queries)
    assert spec.min_replicas >= 1
    assert spec.behaviour.down.window_s >= 300
