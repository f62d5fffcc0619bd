"""The checks of rules, of their tests and of dashboards' queries find what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.checking import prometheus
from deploy.checking.dashboards import unreadable
from deploy.checking.outcome import Outcome
from deploy.monitoring.dashboards import Expression

pytestmark = pytest.mark.needs_program("promtool", how=prometheus.HOW_TO_INSTALL)

RULE = {"alert": "Down", "expr": "up == 0", "for": "1m"}
TEST = {
    "rule_files": ["../rules/down.yaml"],
    "evaluation_interval": "1m",
    "tests": [
        {
            "interval": "1m",
            "input_series": [{"series": 'up{job="a"}', "values": "0 0 0"}],
            "alert_rule_test": [
                {"eval_time": "2m", "alertname": "Down", "exp_alerts": [{"exp_labels": {"job": "a"}}]}
            ],
        }
    ],
}


@pytest.fixture
def monitoring(tmp_path: Path) -> Path:
    """A folder with a rule and its test, as deploy/monitoring has them for Prometheus."""
    write(tmp_path / "rules" / "down.yaml", {"groups": [{"name": "down", "rules": [RULE]}]})
    write(tmp_path / "tests" / "down.yaml", TEST)
    return tmp_path


def write(path: Path, content: object) -> None:
    """Write YAML into a file, whose folder is made."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def test_what_is_right_passes(monitoring: Path) -> None:
    """Neither the rule nor its test has a problem before the next tests spoil them."""
    assert prometheus.promtool("check", "rules", str(monitoring / "rules" / "down.yaml")) == []
    assert prometheus.promtool("test", "rules", str(monitoring / "tests" / "down.yaml")) == []


def test_a_rule_that_prometheus_cannot_read_is_found(monitoring: Path) -> None:
    """Promtool says which rule it is and what it expected."""
    file = monitoring / "rules" / "down.yaml"
    write(file, {"groups": [{"name": "down", "rules": [RULE | {"expr": "up == ("}]}]})
    assert any('"Down"' in line for line in prometheus.promtool("check", "rules", str(file)))


def test_an_alert_that_does_not_fire_is_found(monitoring: Path) -> None:
    """A test that expects an alert fails where the rule waits too long for it."""
    write(monitoring / "rules" / "down.yaml", {"groups": [{"name": "down", "rules": [RULE | {"for": "1h"}]}]})
    said = prometheus.promtool("test", "rules", str(monitoring / "tests" / "down.yaml"))
    assert any("Down" in line for line in said)


def test_a_query_that_prometheus_cannot_read_is_found() -> None:
    """The sentence names the dashboard and the panel; the query beside it is right."""
    right = Expression(dashboard="fleet", panel="Requests", promql="sum(up)", instant=False)
    wrong = Expression(dashboard="fleet", panel="Errors", promql="sum(up", instant=False)
    problems = unreadable([right, wrong])
    assert len(problems) == 1
    assert problems[0].startswith("dashboard fleet, panel Errors: ")
    assert unreadable([right]) == []


def test_without_promtool_the_checks_say_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They skip with the reason."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    reason = f"promtool is missing; to install it: {prometheus.HOW_TO_INSTALL}"
    assert prometheus.check_rules() == Outcome(skipped=reason)
