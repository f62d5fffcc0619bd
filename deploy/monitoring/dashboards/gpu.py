"""GPUs, as NVIDIA's dcgm-exporter shows them, beside the images that they classify.

The exporter's release 4.9 renamed its metrics and turned them to base units; queries take either name. Its
labels `namespace` and `pod` name the pod that uses a GPU. Prometheus must honour them (honorLabels: true,
which is not the default of the exporter's chart); else they name the exporter's own pod. A GPU that no pod
uses has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.parts import (
    NAMESPACE,
    ORANGE,
    RED,
    About,
    Panel,
    board,
    choice,
    lines,
    number,
    per_second,
    query,
    stacked,
)

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gauge of the exporter.

    Attributes:
        name: Since 4.9, in base units.
        old_name: Before.
        scale: Turns the old unit into the new one.
    """

    name: str
    old_name: str
    scale: str = ""

    def of(self, where: str) -> str:
        """The query that takes what is there."""
        return f"({self.old_name}{{{where}}}{self.scale} or {self.name}{{{where}}})"


# Source: https://docs.nvidia.com/datacenter/dcgm/latest/reference/dcgm-exporter-metrics.html and
# etc/default-counters.csv of https://github.com/NVIDIA/dcgm-exporter; all of them are there by default.
UTILISATION: Final = Gauge("DCGM_FI_DEV_GPU_UTIL_RATIO", "DCGM_FI_DEV_GPU_UTIL", " / 100")
ENGINE: Final = Gauge("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", "DCGM_FI_PROF_GR_ENGINE_ACTIVE")
TENSOR: Final = Gauge("DCGM_FI_PROF_TENSOR_UTIL_RATIO", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")
DRAM: Final = Gauge("DCGM_FI_PROF_DRAM_UTIL_RATIO", "DCGM_FI_PROF_DRAM_ACTIVE")
USED: Final = Gauge("DCGM_FI_DEV_FB_USED_BYTES", "DCGM_FI_DEV_FB_USED", f" * {_MIB}")
FREE: Final = Gauge("DCGM_FI_DEV_FB_FREE_BYTES", "DCGM_FI_DEV_FB_FREE", f" * {_MIB}")
POWER: Final = Gauge("DCGM_FI_DEV_BOARD_POWER_WATTS", "DCGM_FI_DEV_POWER_USAGE")
CLOCK: Final = Gauge("DCGM_FI_DEV_SM_CLOCK_HERTZ", "DCGM_FI_DEV_SM_CLOCK", " * 1000000")
HEAT: Final = Gauge("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "DCGM_FI_DEV_GPU_TEMP")
XID: Final = Gauge("DCGM_FI_DEV_XID_ERROR", "DCGM_FI_DEV_XID_ERRORS")

GAUGES: Final = (UTILISATION, ENGINE, TENSOR, DRAM, USED, FREE, POWER, CLOCK, HEAT, XID)

_POD: Final = f'{NAMESPACE}, pod=~"$pod"'
_BY: Final = "namespace, pod, gpu"
_GPU: Final = "{{pod}} GPU {{gpu}}"


def make() -> Dashboard:
    """The dashboard."""
    text = (
        "GPUs by the pod that uses them, beside the images that they classify. Needs dcgm-exporter, scraped "
        "with honorLabels: true."
    )
    used = f'{{__name__=~"{USED.name}|{USED.old_name}"'
    return board(
        "gpu",
        About("attnserve / GPU", text, ""),
        [
            choice("namespace", "Namespace", f"{used}}}"),
            choice("pod", "Pod", f"{used}, {NAMESPACE}}}"),
        ],
        {"Worth": _worth(), "Work": _work(), "Memory and board": _board()},
    )


def _each(gauge: Gauge) -> str:
    return f"max by ({_BY}) {gauge.of(_POD)}"


def _worth() -> list[Panel]:
    images = per_second("attnserve_images_total", "namespace", f'{NAMESPACE}, outcome="ok"')
    return [
        stacked(
            About("Images a second by model", "Images that were answered well.", "suffix:images/s"),
            query(
                per_second("attnserve_images_total", "namespace, model", f'{NAMESPACE}, outcome="ok"'),
                "{{model}}",
            ),
        ),
        lines(
            About(
                "Images a second and GPU in use",
                "Throughput over the sum of utilisation. It falls when GPUs are busy without getting more "
                "done: small batches, or work that is not ours.",
                "suffix:images/s",
            ),
            query(f"{images} / sum by (namespace) {UTILISATION.of(NAMESPACE)}", "{{namespace}}"),
        ),
        lines(
            About("Energy for an image", "Power of all GPUs over images a second.", "joule"),
            query(f"sum by (namespace) {POWER.of(NAMESPACE)} / {images}", "{{namespace}}"),
        ),
    ]


def _work() -> list[Panel]:
    return [
        lines(
            About(
                "Utilisation",
                "Share of the time in which anything ran on the GPU: one small kernel after the other counts "
                "as fully used, so it says when a GPU idles and not when it is full. Nothing for MIG slices.",
                "percentunit",
            ),
            query(_each(UTILISATION), _GPU),
        ),
        lines(
            About(
                "Engine active",
                "Share of the time in which the compute engine was active, from hardware counters; MIG "
                "slices have it, too.",
                "percentunit",
            ),
            query(_each(ENGINE), _GPU),
        ),
        lines(
            About(
                "Tensor cores and memory active",
                "Share of the cycles. Tensor cores near 0 mean that nets run in FP32 outside of them; memory "
                "at 0.8 is as good as full.",
                "percentunit",
            ),
            query(_each(TENSOR), f"{_GPU}, tensor"),
            query(_each(DRAM), f"{_GPU}, memory"),
        ),
    ]


def _board() -> list[Panel]:
    full = f"max by ({_BY}) ({USED.of(_POD)} / ({USED.of(_POD)} + {FREE.of(_POD)}))"
    return [
        lines(
            About("Memory used", "Of the GPU. It grows with models, their workers and batches.", "bytes"),
            query(_each(USED), _GPU),
        ),
        lines(
            About("Memory used, share", "Near 1 the next batch may not fit.", "percentunit"),
            query(full, _GPU),
            limits={0.9: ORANGE, 0.97: RED},
        ),
        lines(About("Power", "Of the whole board.", "watt"), query(_each(POWER), _GPU)),
        lines(
            About(
                "Clock",
                "Of the streaming multiprocessors. It falls when the board reaches its limit of power or "
                "heat.",
                "hertz",
            ),
            query(_each(CLOCK), _GPU),
        ),
        lines(
            About("Temperature", "Of the GPU. Most slow down somewhere above 85 °C.", "celsius"),
            query(_each(HEAT), _GPU),
            limits={85: ORANGE},
        ),
        number(
            About(
                "Last XID error",
                "Number of the last error that the driver reported, 0 for none; NVIDIA's list of XID errors "
                "says what it means and whether the GPU can still be used.",
                "none",
            ),
            query(_each(XID), _GPU),
            limits={1: RED},
        )
        .span(8)
        .height(8),
    ]
