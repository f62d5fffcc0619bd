"""What an HPA's external metric is in PromQL, by the metrics adapter's rules in deploy/monitoring/adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from tests.e2e.demo import ROOT
from tests.fleet.hpa_object import External

RULES = ROOT / "deploy" / "monitoring" / "adapter" / "values.yaml"
_WINDOW = re.compile(r"\[(\d+)(s|m)\]")
_SECONDS = {"s": 1, "m": 60}


def query(metric: External, namespace: str) -> str:
    """The query that the adapter makes of a metric and its selector, for an HPA of that namespace.

    Raises:
        KeyError: No rule gives a metric of that name.
    """
    rules = {rule["name"]["as"]: rule for rule in yaml.safe_load(RULES.read_text())["rules"]["external"]}
    rule = rules[metric.name]
    series = rule["seriesQuery"].partition("{")[0]
    text: str = rule["metricsQuery"]
    matchers = _matchers({"namespace": namespace, **metric.labels})
    return text.replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)


def faster(promql: str, times: float) -> str:
    """The same query with all its windows so many times shorter."""

    def shortened(window: re.Match[str]) -> str:
        milliseconds = round(1000 * int(window[1]) * _SECONDS[window[2]] / times)
        return f"[{milliseconds}ms]"

    return _WINDOW.sub(shortened, promql)


def _matchers(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
