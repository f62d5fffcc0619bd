"""The dashboards as files: what is committed, what each panel says, what its queries may name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from deploy.monitoring.dashboards import drift, expressions
from deploy.monitoring.dashboards.collection import EVERYTHING, FOLDER, dashboards, panels, write
from deploy.monitoring.dashboards.experiment import make as make_experiment
from serve.core.verdict import Verdict
from serve.experiment_metrics import ExperimentMetrics
from serve.metrics import Metrics

HERE = Path(__file__).parent
RULES = Path("deploy/monitoring/rules")
NAMES = ("experiment", "fleet", "gpu", "model")
COLUMNS = 24
# https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
OF_PROMETHEUS = {"ALERTS"}
# https://prometheus.io/docs/prometheus/latest/querying/functions/ and .../operators/
WORDS = {
    *("sum", "max", "min", "avg", "count", "rate", "increase", "histogram_quantile", "vector", "time"),
    *("by", "on", "group_left", "or", "and"),
}
# Grafana has more; these are those that are used: packages/grafana-data/src/valueFormats/categories.ts
UNITS = {"bytes", "celsius", "hertz", "joule", "none", "percentunit", "reqps", "s", "short", "watt"}

ALL_PANELS = [
    pytest.param(panel, id=f"{name}: {panel.title}")
    for name, made in dashboards().items()
    for panel in panels(made)
]


@pytest.fixture(params=NAMES)
def committed(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((FOLDER / f"{request.param}.json").read_text(encoding="utf-8"))
    return found


def test_what_is_committed_is_what_the_code_makes() -> None:
    """Nobody has edited JSON, or forgotten `make dashboards`; and no dashboard is missing."""
    assert drift() == []
    assert tuple(sorted(path.stem for path in FOLDER.iterdir())) == NAMES


def test_drift_is_found_and_said(tmp_path: Path) -> None:
    """A changed, a missing and a superfluous file each give a sentence that says what to do."""
    write(tmp_path)
    assert drift(tmp_path) == []
    (tmp_path / "fleet.json").write_text("{}", encoding="utf-8")
    (tmp_path / "gpu.json").unlink()
    (tmp_path / "old.json").write_text("{}", encoding="utf-8")
    found = sorted(drift(tmp_path))
    assert [sentence.partition(":")[0] for sentence in found] == [
        str(tmp_path / name) for name in ("fleet.json", "gpu.json", "old.json")
    ]
    assert all(word in sentence for word, sentence in zip(("make", "make", "delete"), found, strict=True))


def test_grafanas_library_reads_it(committed: dict[str, Any]) -> None:
    """Its typed model takes the whole of it, and gives the same back."""
    again = Dashboard.from_json(committed)
    assert json.loads(json.dumps(again, default=lambda one: one.to_json())) == committed


def test_links_name_it_and_its_kin(committed: dict[str, Any]) -> None:
    """The uid is stable, a link leads to all others with the same choice, and the runbook is named."""
    assert committed["uid"].startswith("attnserve-")
    (others,) = committed["links"]
    assert (others["type"], others["tags"], others["includeVars"]) == ("dashboards", ["attnserve"], True)
    assert committed["description"].endswith(" deploy/monitoring/runbook.md")
    assert committed["tags"] == ["attnserve"]


def test_its_variables_offer_all(committed: dict[str, Any]) -> None:
    """First the data source, then labels of which several, or all, are taken; all of them are used."""
    source, *variables = committed["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    asked = json.dumps(committed["panels"])
    for variable in variables:
        assert variable["includeAll"]
        assert variable["multi"]
        assert variable["query"].endswith(f", {variable['name']})")
        assert f'=~\\"${variable["name"]}\\"' in asked
    assert set(re.findall(r"\$(\w+)", asked)) <= {name.removeprefix("$") for name in EVERYTHING} | {
        "datasource"
    }


def test_panels_fill_the_grid_without_overlap(committed: dict[str, Any]) -> None:
    """Every panel has a number of its own, none reaches over the edge, and no two share a place."""
    places = [panel["gridPos"] for panel in committed["panels"]]
    assert len({panel["id"] for panel in committed["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("panel", ALL_PANELS)
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    """A title, sentences that explain it, a unit that Grafana knows or our own suffix, and queries."""
    assert panel.title
    assert panel.description
    assert panel.description.endswith(".")
    unit = panel.field_config.defaults.unit
    assert unit
    assert unit in UNITS or unit.startswith("suffix:")
    assert panel.targets
    assert panel.datasource
    assert panel.datasource.uid == "${datasource}"


def test_titles_are_unique(committed: dict[str, Any]) -> None:
    """Who speaks of a panel names it."""
    titles = [panel["title"] for panel in committed["panels"] if panel["type"] != "row"]
    assert len(titles) == len(set(titles))


def test_the_verdict_has_a_word_and_a_colour_for_each() -> None:
    """Also for verdicts that are added later, in the order of the enumeration."""
    (panel,) = (one for one in panels(make_experiment()) if one.title == "Verdict")
    assert panel.field_config.defaults.mappings
    document = json.loads(json.dumps(panel.field_config.defaults.mappings, default=lambda one: one.to_json()))
    words = {number: result["text"] for number, result in document[0]["options"].items()}
    assert words == {
        str(place): verdict.value.replace("_", " ") for place, verdict in enumerate(Verdict, start=1)
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_one_that_somebody_exposes(name: str) -> None:
    """The gateway, the recording rules, dcgm-exporter, kube-state-metrics or Prometheus itself."""
    known = {*_of_gateway(), *_of_rules(), *_of_exporters(), *OF_PROMETHEUS}
    asked = {metric for one in expressions() if one.dashboard == name for metric in _metrics(one.promql)}
    assert asked
    assert asked - known == set()


def test_alerts_are_found_by_how_their_names_begin() -> None:
    """The fleet shows those that begin so, and leaves out what else a cluster watches: all of ours do."""
    (shown,) = {one.promql for one in expressions() if "ALERTS" in one.promql and "by" in one.promql}
    assert 'alertname=~"Attnserve.*"' in shown
    names = {rule["alert"] for rule in _rules() if "alert" in rule}
    assert names
    assert [name for name in names if not name.startswith("Attnserve")] == []


def test_an_unknown_metric_is_noticed() -> None:
    """The way in which the test above reads queries overlooks none, with a selector or without."""
    query = (
        'sum by (le, a) (rate(one_bucket{x=~"sum(two)"}[1m])) / on (a) group_left () (3 - four:five) or six'
    )
    assert _metrics(query) == {"one_bucket", "four:five", "six"}


def test_variables_are_replaced_whole() -> None:
    """No query that is checked without Grafana still holds one of its variables."""
    assert len(expressions()) >= len(ALL_PANELS)
    assert [one for one in expressions() if "$" in one.promql] == []


def _metrics(promql: str) -> set[str]:
    """What is left of a query's words without its labels, durations, functions and operators."""
    bare = re.sub(r"\{.*?\}|\[.*?\]", " ", promql)
    bare = re.sub(r"\b(by|on|group_left) *\(.*?\)", " ", bare)
    return {word for word in re.findall(r"[A-Za-z_:][\w:]*", bare) if word not in WORDS}


def _of_gateway() -> Iterator[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    ExperimentMetrics(registry)
    ProcessCollector(registry=registry)
    for family in registry.collect():
        if family.type == "histogram":
            yield from (f"{family.name}_{part}" for part in ("bucket", "sum", "count"))
        yield f"{family.name}_total" if family.type == "counter" else family.name


def _of_rules() -> Iterator[str]:
    return (rule["record"] for rule in _rules() if "record" in rule)


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULES.glob("*.yaml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["groups"]:
            yield from group["rules"]


def _of_exporters() -> Iterator[str]:
    """By files whose first lines say where the names come from."""
    for path in sorted(HERE.glob("*.prom")):
        text = path.read_text(encoding="utf-8")
        assert "https://" in text.partition("# HELP")[0]
        for family in text_string_to_metric_families(text):
            yield from {sample.name for sample in family.samples}
