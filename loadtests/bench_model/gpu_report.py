"""The benchmark on a GPU: all of it, its tables, its JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table

from loadtests.bench import archives
from loadtests.bench_model import gpu
from loadtests.bench_model.gpu_served import Served, served
from loadtests.bench_model.rounds import Plan, Rounds
from loadtests.machine import Machine

RECIPES: Final = ("cuda-fp16", "cuda-bf16", "portable")
PHASE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFindings:
    """All that was measured.

    Attributes:
        machine: Where and when.
        gpu: Its name.
        net: That was measured.
        bare: The module alone.
        served: Through the gateway, by recipe and callers.
    """

    machine: Machine
    gpu: str
    net: str
    bare: Rounds
    served: tuple[Served, ...]


def measure_gpu(net: str, plan: Plan, folder: Path, say: Callable[[str], None]) -> GpuFindings:
    """Build the archive, measure its net alone and served.

    Args:
        net: Of the zoo.
        plan: Of the bare module.
        folder: Keeps the archive.
        say: Told what is going on.

    Raises:
        NoGpuError: There is no GPU.
        subprocess.CalledProcessError: The archive cannot be built; the builder has said why.
        StackError: The gateway did not start.
        LoadError: It answered wrongly, or too seldom.
    """
    device = gpu.the_gpu()
    store = folder / "gpu"
    say(f"{net}: building its archive")
    archives.prepare(store, [net], ["--recipes", ",".join(RECIPES)])
    with TemporaryDirectory(prefix="attnserve-bench-") as name:
        bare = gpu.bare(archives.unpack(store, Path(name), net), device, gpu.BATCHES, plan, say)
    torch.cuda.empty_cache()  # the worker needs room
    phases = [phase for recipe in RECIPES for phase in served(store, net, recipe, PHASE_S, say)]
    return GpuFindings(
        machine=Machine.here(),
        gpu=torch.cuda.get_device_name(device),
        net=net,
        bare=bare,
        served=tuple(phases),
    )


def show_gpu(findings: GpuFindings, console: Console) -> None:
    """Print it."""
    _show_bare(findings, console)
    _show_served(findings, console)
    machine = findings.machine
    console.print(
        f"{findings.gpu}; {machine.processor}, {machine.cores} cores; torch {machine.torch}; {machine.date}; "
        "float32 convolutions use TF32, torch's default",
        soft_wrap=True,
    )


def gpu_json(findings: GpuFindings) -> dict[str, Any]:
    """Everything, the part that limits included."""
    return {
        "machine": asdict(findings.machine),
        "gpu": findings.gpu,
        "net": findings.net,
        "bare": [
            {**asdict(key), "seconds": list(seconds), "images_a_second": findings.bare.rate(key).median}
            for key, seconds in findings.bare.seconds.items()
        ],
        "served": [{**asdict(one), "shares": one.shares, "limits": one.limits} for one in findings.served],
    }


def _show_bare(findings: GpuFindings, console: Console) -> None:
    forms = list(dict.fromkeys(key.form for key in findings.bare.seconds))
    table = Table("batch", *forms, title=f"{findings.net}: images/s of the bare module, medians")
    for batch in sorted({key.batch for key in findings.bare.seconds}):
        keys = {key.form: key for key in findings.bare.seconds if key.batch == batch}
        table.add_row(str(batch), *(f"{findings.bare.rate(keys[form]).median:,.0f}" for form in forms))
    console.print(table)


def _show_served(findings: GpuFindings, console: Console) -> None:
    table = Table(
        *("recipe", "callers", "images/s", "p50 ms", "p99 ms", "GPU busy", "GPU MB", "gateway CPU ms/image"),
        "what limits",
        title=f"{findings.net}: JPEG through the gateway",
    )
    for one in findings.served:
        run = one.run
        table.add_row(
            *(one.recipe, str(one.callers), f"{run.rate:,.0f}", f"{run.median_ms:.1f}", f"{run.p99_ms:.1f}"),
            "unknown" if one.gpu_busy is None else f"{one.gpu_busy:.0%}",
            "unknown" if one.gpu_memory_mb is None else f"{one.gpu_memory_mb:,.0f}",
            f"{1e3 * one.cpu_s.get('gateway', 0.0) / run.requests:.2f}",
            one.limits,
        )
    console.print(table)
