"""The benchmark on a GPU, as far as it can be tried without one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from zipfile import ZipFile

import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from loadtests.bench.generator import LoadRun
from loadtests.bench_model import __main__ as command
from loadtests.bench_model import gpu
from loadtests.bench_model.gpu_report import GpuFindings, gpu_json, show_gpu
from loadtests.bench_model.gpu_served import Served
from loadtests.bench_model.gpu_watch import Reading, watched
from loadtests.bench_model.rounds import Key, Plan, Rounds
from loadtests.machine import Machine
from model_store.build import Order, build_untrained

RUN = LoadRun(requests=1000, rate=100.0, mean_ms=9.0, median_ms=8.0, p99_ms=20.0, cpu_s=1.0)
SERVED = Served(
    recipe="cuda-fp16",
    callers=32,
    run=RUN,
    cpu_s={"gateway": 2.0, "Java": 1.0, "worker": 5.0, "generator": 1.0},
    stages_s={"decode": 3.0, "inference": 4.0, "encode": 0.1},
    seconds=10.0,
    gpu_busy=0.95,
    gpu_memory_mb=1234.0,
    cores=16,
)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with exit code 1, before anything is built."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, ["--gpu"])
    assert result.exit_code == 1
    assert "there is no GPU here that torch can use" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({}, "GPU (95% busy)"),
        ({"gpu_busy": 0.5, "stages_s": {"decode": 9.0, "inference": 1.0}}, "decoding (90% busy)"),
        ({"gpu_busy": None, "cpu_s": {"gateway": 9.9}}, "gateway (99% busy)"),
        ({"gpu_busy": 0.1, "cores": 1}, "CPU of all, generator included (90% busy)"),
        ({"gpu_busy": 0.4}, "none; GPU is busiest (40%)"),
    ],
)
def test_the_part_that_limits_is_the_busiest(change: dict[str, object], part: str) -> None:
    """If it is busy nearly all the time; else none does."""
    assert replace(SERVED, **change).limits == part  # type: ignore[arg-type] # fields of it


def test_the_driver_is_asked_again_and_again() -> None:
    """Until the block ends, or until it answers what is no figure."""
    lines: Iterator[str] = iter(["80, 1000\n", "90, 3000\n", "[N/A], 1\n"])
    with watched(lambda: next(lines), every_s=0.001) as readings:
        while len(readings.all) < 2:
            sleep(0.001)
    assert readings.busy == pytest.approx(0.85)
    assert readings.memory_mb == 3000


def test_a_driver_that_is_missing_is_unknown_not_zero() -> None:
    """What cannot be read has no figure."""

    def missing() -> str:
        raise FileNotFoundError("nvidia-smi")

    with watched(missing, every_s=0.001) as readings:
        sleep(0.01)
    assert readings.busy is None
    assert readings.memory_mb is None
    with pytest.raises(ValueError, match="could not convert"):
        Reading.parse("[N/A], 1")


def test_the_report_shows_bare_and_served() -> None:
    """Also as JSON, with the part that limits."""
    seconds = {Key(net="resnet20", form=form, batch=8): (0.1, 0.2, 0.4) for form in ("float16", "float32")}
    findings = GpuFindings(
        machine=Machine.here(),
        gpu="a GPU",
        net="resnet20",
        bare=Rounds(seconds=seconds),
        served=(SERVED, replace(SERVED, gpu_busy=None, gpu_memory_mb=None)),
    )
    console = Console(file=io.StringIO(), width=200)
    show_gpu(findings, console)
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
    for part in ("a GPU", "40", "cuda-fp16", "GPU (95% busy)", "unknown", "2.00"):
        assert part in text
    document = json.loads(json.dumps(gpu_json(findings)))
    assert document["served"][0]["limits"] == "GPU (95% busy)"
    assert document["bare"][0]["images_a_second"] == pytest.approx(40.0)


@pytest.mark.slow  # it builds an archive
def test_the_handlers_net_is_measured_in_every_precision(tmp_path: Path) -> None:
    """A CPU stands in for the GPU: graphs are recorded on a GPU only, but all else is the same."""
    archive = build_untrained("resnet20", None, Order(), tmp_path)
    folder = tmp_path / "unpacked"
    with ZipFile(archive) as file:
        file.extractall(folder)
    plan = Plan(rounds=1, turn_s=0.001)
    rounds = gpu.bare(folder, torch.device("cpu"), (1, 2), plan, lambda _: None)
    forms = {key.form for key in rounds.seconds}
    assert forms == {form for dtype in gpu.DTYPES for form in (dtype, dtype + gpu.GRAPHS)}
    assert all(min(seconds) > 0 for seconds in rounds.seconds.values())
