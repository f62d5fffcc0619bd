"""Every alert fires when it should and only then, says what to do, and a healthy gateway sets none off."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.checking.prometheus import HOW_TO_INSTALL, plain_files, promtool
from deploy.monitoring import rules_of
from loadtests.stack import running_stack
from serve.experiment_metrics import ExperimentMetrics
from serve.metrics import OUTCOME_LABELS, REQUEST_BUCKETS, Metrics
from tests.deploy.live_fleet import NAMESPACE, Asked, exporters, prometheus
from tests.e2e.demo import build_demo

MONITORING = rules_of.RULES.parent
RUNBOOK = MONITORING / "runbook.md"
Rule = dict[str, Any]


def rules(kind: str) -> list[Rule]:
    """All that record, or all that alert."""
    groups = (
        group
        for path in sorted(rules_of.RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["groups"]
    )
    return [rule for group in groups for rule in group["rules"] if kind in rule]


@cache
def cases() -> list[Rule]:
    """What promtool's tests expect of an alert at some time; read once, since every alert asks."""
    return [
        case
        for path in sorted((MONITORING / "tests").glob("*.yaml"))
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]


def fires(alert: Rule, case: Rule) -> bool:
    """Whether that very rule is expected to fire: others may have its name, with other labels."""
    labels = [one["exp_labels"].items() for one in case["exp_alerts"]]
    return any(alert["labels"].items() <= one for one in labels)


ALERTS = rules("alert")


def title(alert: Rule) -> str:
    """An alert's name, and the labels that tell it from others of that name."""
    return "-".join([alert["alert"], *alert["labels"].values()])


@pytest.mark.parametrize("alert", ALERTS, ids=title)
def test_every_alert_is_seen_firing_and_not_firing(alert: Rule) -> None:
    """In promtool's tests, each of several that share a name for itself."""
    seen = {fires(alert, case) for case in cases() if case["alertname"] == alert["alert"]}
    assert True in seen, f"no test shows {title(alert)} firing"
    assert False in seen, f"no test shows {title(alert)} silent"


@pytest.mark.slow
@pytest.mark.needs_program("promtool", how=HOW_TO_INSTALL)
@pytest.mark.parametrize("name", sorted(path.name for path in (MONITORING / "tests").glob("*.yaml")))
def test_promtool_sees_what_the_tests_expect(name: str) -> None:
    """With labels and words of each alert."""
    with plain_files() as folder:
        assert promtool("test", "rules", str(folder / "tests" / name)) == []


@pytest.mark.parametrize("alert", ALERTS, ids=title)
def test_every_alert_says_how_bad_it_is_and_what_to_do(alert: Rule) -> None:
    """Severity, a summary, a description, and the section of the runbook that bears its name."""
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert "{{" in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == f"deploy/monitoring/runbook.md#{alert['alert'].lower()}"


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    """Each tells how to look, what to do and when to ignore it."""
    sections = re.split(r"^### ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    told = {section.partition("\n")[0]: section for section in sections}
    assert len(told) == len(sections)
    assert told.keys() == {alert["alert"] for alert in ALERTS}
    for name, section in told.items():
        assert re.search(r"ignore\s+it", section, re.IGNORECASE), name
        assert re.search(r"What\s+to\s+do|Look\s+and\s+act", section), name


def test_rules_name_metrics_labels_and_buckets_that_gateways_have() -> None:
    """A name that was mistyped would make an alert that is silent for ever."""
    registry = CollectorRegistry()
    Metrics(registry)
    ExperimentMetrics(registry)
    names = {
        name
        for family in registry.collect()
        for name in ({f"{family.name}_total"} if family.type == "counter" else {family.name})
    }
    texts = [rule["expr"] for rule in (*ALERTS, *rules("record"))]
    used = {name for text in texts for name in re.findall(r"\battnserve_\w+", text)}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in used} - {""} <= names
    recorded = {rule["record"] for rule in rules("record")}
    assert {name for text in texts for name in re.findall(r"\battnserve:[\w:]+", text)} <= recorded
    outcomes = {one for text in texts for one in re.findall(r'outcome!?=~?"([^"]+)"', text)}
    assert {name for one in outcomes for name in one.split("|")} <= set(OUTCOME_LABELS)
    assert {float(le) for text in texts for le in re.findall(r'le="([^"]+)"', text)} <= set(REQUEST_BUCKETS)


def test_each_pair_of_windows_has_a_rule_of_its_own() -> None:
    """Google's SRE workbook, table 5-8 (14.4, 6 and 1), with 3 times for a day from Kubernetes' mixin."""
    pairs = {("1h", "5m"): 14.4, ("6h", "30m"): 6.0, ("1d", "2h"): 3.0, ("3d", "6h"): 1.0}
    found = {}
    for alert in (one for one in ALERTS if "long" in one["labels"]):
        long, short = alert["labels"]["long"], alert["labels"]["short"]
        windows = re.findall(r"ratio_rate(\w+)", alert["expr"])
        factors = {
            float(one) for one in re.findall(r"\(([\d.]+) \* \(1 - attnserve:slo:objective", alert["expr"])
        }
        assert windows == [long, short]
        assert f"rate5m[{long}]) * 30" in alert["expr"]
        (found[alert["alert"], long, short],) = factors
    names = ("AttnserveErrorBudgetBurn", "AttnserveArmErrorBudgetBurn")
    assert found == {(name, *pair): factor for name, (pair, factor) in product(names, pairs.items())}


def test_failures_are_counted_with_the_interval_of_their_rates() -> None:
    """`sum_over_time(...) * 30` in the alerts is a number of requests only then."""
    manifest = yaml.safe_load((rules_of.RULES / "recording.yaml").read_text(encoding="utf-8"))
    (group,) = (one for one in manifest["spec"]["groups"] if one["name"] == "attnserve-events")
    assert group["interval"] == "30s"


def test_nothing_is_summed_by_pod() -> None:
    """Rules work with Kubernetes' labels and without them."""
    for rule in (*ALERTS, *rules("record")):
        for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
            assert "namespace" in labels
            assert not re.search(r"\b(pod|instance)\b", labels), rule["expr"]


def test_plain_rules_are_written(tmp_path: Path) -> None:
    """By the command that the configuration names: each holds what its object has for Prometheus."""
    command = [sys.executable, rules_of.__file__, str(tmp_path / "rules")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    files = sorted((tmp_path / "rules").iterdir())
    assert done.stdout.split() == [str(file) for file in files]
    for file in files:
        source = yaml.safe_load((rules_of.RULES / file.name).read_text(encoding="utf-8"))
        assert yaml.safe_load(file.read_text(encoding="utf-8")) == source["spec"]
    asked = subprocess.run(command[:2], check=False, capture_output=True, text=True)
    assert (asked.returncode, asked.stderr) == (2, "usage: rules_of.py FOLDER\n")


def test_what_is_no_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, before Prometheus would read it as a file without rules."""
    (tmp_path / "odd.yaml").write_text("kind: ConfigMap\n")
    monkeypatch.setattr(rules_of, "RULES", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.yaml: must hold one object of kind PrometheusRule"):
        rules_of.write_rules(tmp_path / "out")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A real Prometheus with these rules that scrapes a real gateway, in which all is well."""
    folder = tmp_path_factory.mktemp("prometheus")
    settings = {"ATTNSERVE_MODEL_STORE": str(build_demo().archives)}
    with (
        running_stack(tmp_path_factory.mktemp("gateway"), settings) as stack,
        exporters(()) as shown,
        prometheus(folder, stack.target.metrics, shown, ()) as running,
    ):
        yield running


@pytest.mark.slow
@pytest.mark.needs_program("prometheus", how=HOW_TO_INSTALL)
def test_on_a_healthy_gateway_rules_evaluate_and_no_alert_is_even_pending(asked: Asked) -> None:
    """Every recording rule has series at last, except those of experiments, of which there are none."""

    def told() -> list[Rule]:
        groups = asked.get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"] if rule["name"].startswith("Attnserve")]

    def quiet() -> bool:
        loud = [rule["name"] for rule in told() if rule["state"] != "inactive"]
        return loud in ([], ["AttnserveWatchdog"])

    recorded = {rule["record"] for rule in rules("record")}
    asked.wait_until(
        lambda: all(asked.get("query", query=name)["result"] for name in recorded), "all that is recorded"
    )
    asked.wait_until(quiet, "no alert on a healthy gateway")
    assert {rule["name"] for rule in told()} >= {alert["alert"] for alert in ALERTS}
    problems = [
        rule for group in asked.get("rules")["groups"] for rule in group["rules"] if rule.get("lastError")
    ]
    assert problems == []
    (gateways,) = asked.values("attnserve:gateways:count")
    assert gateways == ({"__name__": "attnserve:gateways:count", "namespace": NAMESPACE}, [1.0])
    objectives = {one["slo"]: value for one, (value,) in asked.values("attnserve:slo:objective")}
    assert objectives == pytest.approx({"availability": 0.999, "latency": 0.99}, abs=math.ulp(1))
