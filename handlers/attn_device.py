"""Where the net runs, in which precision, in which batch sizes: decisions only, nothing here needs a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

REQUIRE_GPU_VARIABLE: Final = "ATTNSERVE_REQUIRE_GPU"

# torch.jit specialises a graph in its first two runs; the third is the first at full speed.
SETTLING_RUNS: Final = 3

# What Python does between two calls of a decoder is done by one thread at a time, a twentieth of the whole.
MAX_DECODE_THREADS: Final = 16
# Fewer are decoded sooner than a second forward pass is launched.
MIN_OVERLAPPED_ITEMS: Final = 16

DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Device, precision and memory format of the forward pass."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format = torch.contiguous_format

    @classmethod
    def of_dtype(cls, device: torch.device, dtype: str) -> Placement:
        """Half precision computes faster channels last; float32 does not.

        Args:
            device: Where to run.
            dtype: As signature.json names it.

        Raises:
            ValueError: `dtype` is unknown.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype: must be one of {', '.join(DTYPES)}, got {dtype!r}")
        full = DTYPES[dtype] == torch.float32
        return cls(
            device=device,
            dtype=DTYPES[dtype],
            memory_format=torch.contiguous_format if full else torch.channels_last,
        )

    @property
    def portable(self) -> Placement:
        """The same device, as the portable form takes its input."""
        return Placement(device=self.device, dtype=torch.float32)

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


def chunks(count: int, buckets: Sequence[int]) -> Iterator[range]:
    """Split `count` rows into ranges of at most the largest bucket."""
    step = max(buckets)
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def decode_threads_for(cores: int) -> int:
    """Threads that decode: one for each core that the process may use, as far as one interpreter keeps up."""
    return min(cores, MAX_DECODE_THREADS)


def overlaps(cores: int, threads: int, *, on_cuda: bool) -> bool:
    """Whether images are decoded while the net computes: where cores have nothing else to do then.

    Args:
        cores: That the process may use.
        threads: Of the forward pass on a CPU.
        on_cuda: Whether the net runs on a GPU, and leaves the cores alone.
    """
    return on_cuda or cores > threads


def stages(count: int, buckets: Sequence[int], *, overlapping: bool) -> list[int]:
    """Sizes of the parts in which `count` items are decoded and computed.

    Args:
        count: Items.
        buckets: Batch sizes.
        overlapping: Whether one part can be computed while the next is decoded.

    Returns:
        One part, or two where that pays: the first is the largest bucket that holds no more than half, so
        that no row is padded which one part would not have padded too.
    """
    first = max((bucket for bucket in buckets if 2 * bucket <= count), default=0)
    if not overlapping or count < MIN_OVERLAPPED_ITEMS or not first:
        return [count]
    return [first, count - first]


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
