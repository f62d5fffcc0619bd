"""All dashboards: the files that are committed, and the queries that are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from grafana_foundation_sdk.models.prometheus import Dataquery

from deploy.monitoring.dashboards import experiment, fleet, gpu, model

FOLDER: Final = Path(__file__).with_name("json")
# What stands for Grafana's variables where a query is asked without Grafana: everything, over a minute.
EVERYTHING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "$__rate_interval": "1m",
        "$__range": "1h",
        "$namespace": ".*",
        "$model": ".*",
        "$version": ".*",
        "$experiment": ".*",
        "$pod": ".*",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A query of a panel, without Grafana's variables.

    Attributes:
        dashboard: The name of its file.
        panel: Its title.
        promql: What Prometheus is asked.
        instant: Whether for one moment, and not for a span of time.
        legend: What names its series, with {{label}}.
    """

    dashboard: str
    panel: str
    promql: str
    instant: bool
    legend: str = ""


def dashboards() -> Mapping[str, Dashboard]:
    """Name of the file -> what it holds."""
    made = (fleet.make(), model.make(), experiment.make(), gpu.make())
    return {str(one.uid).partition("-")[2]: one for one in made}


def texts() -> Mapping[str, str]:
    """File name -> its content, which is the same each time."""
    return {
        f"{name}.json": json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, made in dashboards().items()
    }


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every file; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts()]


def drift(folder: Path = FOLDER) -> list[str]:
    """A sentence for each file that is not what the code makes."""
    fresh = texts()
    kept = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))}
    return [
        *(f"{folder / name}: is missing; run 'make dashboards'" for name in fresh.keys() - kept.keys()),
        *(
            f"{folder / name}: no code makes it; delete it, or add its module to collection.py"
            for name in kept.keys() - fresh.keys()
        ),
        *(
            f"{folder / name}: is not what the code makes; run 'make dashboards'"
            for name in sorted(fresh.keys() & kept.keys())
            if fresh[name] != kept[name]
        ),
    ]


def panels(made: Dashboard) -> Iterator[Panel]:
    """The panels of a dashboard, without its headings."""
    yield from (one for one in made.panels or [] if isinstance(one, Panel))


def expressions(variables: Mapping[str, str] = EVERYTHING) -> list[Expression]:
    """Every query of every panel, with these values in place of Grafana's variables."""
    return [
        Expression(
            dashboard=name,
            panel=str(panel.title),
            promql=substituted(target.expr, variables),
            instant=bool(target.instant),
            legend=target.legend_format or "",
        )
        for name, made in dashboards().items()
        for panel in panels(made)
        for target in panel.targets or []
        if isinstance(target, Dataquery)
    ]


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """The text with these values in place of variables, the longest names first."""
    for name in sorted(variables, key=len, reverse=True):
        text = text.replace(name, variables[name])
    return text
