"""Where the net runs, in which precision, in which batch sizes: decisions only, nothing here needs a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

REQUIRE_GPU_VARIABLE: Final = "ATTNSERVE_REQUIRE_GPU"

# torch.jit specialises a graph in its first two runs; the third is the first at full speed.
SETTLING_RUNS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Device and precision of the forward pass."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


def gpu_required(config: Mapping[str, object], environ: Mapping[str, str]) -> bool:
    """Whether a GPU was asked for: `deviceType: gpu` in model-config.yaml, or ATTNSERVE_REQUIRE_GPU=1."""
    return config.get("deviceType") == "gpu" or environ.get(REQUIRE_GPU_VARIABLE) == "1"


def choose_device(gpu_id: int | None, *, cuda_available: bool, required: bool) -> torch.device:
    """The device that TorchServe assigned, if torch can use it.

    Args:
        gpu_id: TorchServe's choice; None or negative: the CPU.
        cuda_available: What torch.cuda.is_available() says.
        required: Whether a GPU was asked for by name.

    Raises:
        RuntimeError: A GPU was asked for and there is none: never a silent fall-back to the CPU.
    """
    index = -1 if gpu_id is None else gpu_id
    assigned = index >= 0
    if assigned and cuda_available:
        return torch.device("cuda", index)
    if required:
        missing = (
            "this torch sees no CUDA device"
            if assigned
            else "TorchServe assigned none (is nvidia-smi on PATH?)"
        )
        raise RuntimeError(
            f"a GPU was asked for (deviceType: gpu or {REQUIRE_GPU_VARIABLE}=1), but {missing}"
        )
    return torch.device("cpu")


_CUDA_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_dtype(device: torch.device, cuda_dtype: str) -> torch.dtype:
    """The net's precision: signature.json's `dtype.cuda` on a GPU, float32 on a CPU.

    Raises:
        ValueError: `cuda_dtype` is unknown.
    """
    if cuda_dtype not in _CUDA_DTYPES:
        raise ValueError(f"dtype.cuda: must be one of {', '.join(_CUDA_DTYPES)}, got {cuda_dtype!r}")
    return _CUDA_DTYPES[cuda_dtype] if device.type == "cuda" else torch.float32


def chunks(count: int, buckets: Sequence[int]) -> Iterator[range]:
    """Split `count` rows into ranges of at most the largest bucket."""
    step = max(buckets)
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def bucket_for(count: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `count` rows; `count` itself when none does."""
    return min((bucket for bucket in buckets if bucket >= count), default=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpRun:
    """One run before the first request: how many rows, and whether with the gates."""

    size: int
    explain: bool


def warm_up_runs(buckets: Sequence[int], placement: Placement, *, explains: bool) -> list[WarmUpRun]:
    """What to run before the first request, in order.

    On CUDA each batch size is compiled and tuned for itself, so each gets all settling runs. On a CPU one
    batch size settles the graph for all; the others run once, without the gates, to allocate their memory.

    Args:
        buckets: Batch sizes.
        placement: Where the net runs.
        explains: Whether it can also return its gates.
    """
    methods = (False, True) if explains else (False,)
    if placement.on_cuda:
        settled, touched = list(buckets), []
    else:
        settled, touched = [min(buckets)], [size for size in buckets if size != min(buckets)]
    runs = [
        WarmUpRun(size=size, explain=explain)
        for explain in methods
        for size in settled
        for _ in range(SETTLING_RUNS)
    ]
    return runs + [WarmUpRun(size=size, explain=False) for size in touched]


def is_sticky_cuda_error(error: BaseException) -> bool:
    """Whether an error has ruined the CUDA context, so that only a new process helps.

    The runtime keeps every CUDA error but a failed allocation, and returns it from all later calls of the
    process (CUDA Runtime API, "Error Handling").
    """
    text = str(error)
    return "CUDA error" in text and "out of memory" not in text
