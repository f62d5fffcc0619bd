"""The benchmark of the ledger."""

from __future__ import annotations

from pathlib import Path

from loadtests.bench_ledger import measure


def test_a_ledger_is_measured(tmp_path: Path) -> None:
    """Every figure is there, and every outcome was accepted, or it would have ended with an error."""
    speed = measure(f"sqlite:///{tmp_path}/experiments.db", predictions=100, batch=30)
    assert min(speed.records, speed.outcomes, speed.lone_ms, speed.evidence_ms) > 0
