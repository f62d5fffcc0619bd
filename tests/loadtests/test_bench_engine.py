"""The benchmark of TorchServe's own cost, with a real TorchServe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner

from loadtests import bench_engine
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS


@pytest.mark.slow
def test_every_number_of_images_has_its_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command starts TorchServe with the given options and finds what each process spent."""
    monkeypatch.setattr(bench_engine, "OPTIONS", {"as supervised": DEFAULT_JAVA_OPTIONS})
    app = typer.Typer()
    app.command()(bench_engine.main)
    file = tmp_path / "costs.json"
    options = ["--images", "1", "--images", "4", "--rounds", "1", "--seconds", "0.3", "--json", str(file)]
    try:
        result = CliRunner().invoke(app, options, catch_exceptions=False)
    finally:
        structlog.reset_defaults()
    assert result.exit_code == 0, result.output
    costs = json.loads(file.read_text())["costs"]
    assert [cost["images"] for cost in costs] == [1, 4]
    for cost in costs:
        assert min(cost["rate"], cost["java_ms"], cost["caller_ms"]) > 0
        # The time is counted in hundredths of a second, of which a quick worker may have used none.
        assert cost["worker_ms"] >= 0
