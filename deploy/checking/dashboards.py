"""Grafana's dashboards: what is committed is what the code makes, and Prometheus can read every query."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from deploy.checking.outcome import Outcome, counted, without_program
from deploy.checking.prometheus import HOW_TO_INSTALL, promtool
from deploy.monitoring.dashboards import Expression, drift, expressions


def check_drift() -> Outcome:
    """The committed files are those that the code makes."""
    return Outcome(looked_at="the JSON against its code", problems=drift())


def check_queries() -> Outcome:
    """Prometheus reads the query of every panel."""
    if shutil.which("promtool") is None:
        return without_program("promtool", HOW_TO_INSTALL)
    asked = expressions()
    return Outcome(looked_at=counted(len(asked), "query", "queries"), problems=unreadable(asked))


def unreadable(asked: Iterable[Expression]) -> list[str]:
    """What promtool says against queries; it reads them as rules."""
    asked = list(asked)
    rules = [{"record": f"query:{place}", "expr": one.promql} for place, one in enumerate(asked)]
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as folder:
        file = Path(folder, "queries.yaml")
        file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
        said = promtool("check", "rules", str(file))
    return [
        f"dashboard {one.dashboard}, panel {one.panel}: {line.partition('could not parse expression: ')[2]}"
        for line in said
        for place, one in enumerate(asked)
        if f'"query:{place}"' in line
    ] or said
