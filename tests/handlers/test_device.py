"""Where the net runs: decisions that need no GPU to be checked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handlers.attn_device import (
    Placement,
    bucket_for,
    choose_device,
    chunks,
    gpu_required,
    is_sticky_cuda_error,
    warm_up_runs,
)

CPU = torch.device("cpu")
BUCKETS = st.lists(st.integers(1, 64), min_size=1, unique=True).map(sorted)


@pytest.mark.parametrize(
    ("gpu_id", "cuda_available", "required", "expected"),
    [
        (None, False, False, "cpu"),
        (None, True, False, "cpu"),
        (-1, True, False, "cpu"),
        (0, False, False, "cpu"),
        (1, True, False, "cuda:1"),
        (2, True, True, "cuda:2"),
    ],
)
def test_the_assigned_device_is_used(
    *, gpu_id: int | None, cuda_available: bool, required: bool, expected: str
) -> None:
    """TorchServe assigns, torch must be able to."""
    device = choose_device(gpu_id, cuda_available=cuda_available, required=required)
    assert str(device) == expected


@pytest.mark.parametrize(
    ("gpu_id", "cuda_available", "words"),
    [
        (None, True, "TorchServe assigned none"),
        (None, False, "assigned none"),
        (0, False, "sees no CUDA device"),
    ],
)
def test_a_required_gpu_is_never_replaced(*, gpu_id: int | None, cuda_available: bool, words: str) -> None:
    """Without the GPU that was asked for, nothing is served, and the message says what is missing."""
    with pytest.raises(RuntimeError, match=f"a GPU was asked for .*{words}"):
        choose_device(gpu_id, cuda_available=cuda_available, required=True)


def test_a_gpu_is_required_by_configuration_or_environment() -> None:
    """`deviceType: gpu` or ATTNSERVE_REQUIRE_GPU=1."""
    assert gpu_required({"deviceType": "gpu"}, {})
    assert gpu_required({}, {"ATTNSERVE_REQUIRE_GPU": "1"})
    assert not gpu_required({"deviceType": "cpu"}, {"ATTNSERVE_REQUIRE_GPU": "0"})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_channels_last(dtype: str) -> None:
    """float32 does not, and other precisions are none."""
    half = Placement.of_dtype(CPU, dtype)
    assert (str(half.dtype), half.memory_format) == (f"torch.{dtype}", torch.channels_last)
    full = Placement.of_dtype(CPU, "float32")
    assert full == half.portable == Placement(device=CPU, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"dtype: must be one of float32, float16, bfloat16, got 'int8'"):
        Placement.of_dtype(CPU, "int8")


@given(count=st.integers(0, 300), buckets=BUCKETS)
def test_chunks_cover_every_row_once(count: int, buckets: list[int]) -> None:
    """Chunks are consecutive, complete, and no larger than the largest bucket."""
    found = list(chunks(count, buckets))
    assert [row for rows in found for row in rows] == list(range(count))
    assert all(1 <= len(rows) <= max(buckets) for rows in found)


@given(count=st.integers(1, 100), buckets=BUCKETS)
def test_the_smallest_bucket_that_holds_the_rows_is_taken(count: int, buckets: list[int]) -> None:
    """Never smaller than needed, never larger than necessary."""
    bucket = bucket_for(count, buckets)
    assert bucket >= count
    assert not any(count <= other < bucket for other in buckets)


def _sizes(device: torch.device, *, explain: bool) -> list[int]:
    placement = Placement(device=device, dtype=torch.float32)
    runs = warm_up_runs([1, 4, 8], placement, explains=True)
    return [run.size for run in runs if run.explain is explain]


def test_warm_up_reaches_every_bucket() -> None:
    """On CUDA each bucket runs three times; on a CPU three runs settle the graph, the rest run once."""
    cuda = torch.device("cuda", 0)
    assert _sizes(cuda, explain=False) == _sizes(cuda, explain=True) == [1, 1, 1, 4, 4, 4, 8, 8, 8]
    assert _sizes(CPU, explain=False) == [1, 1, 1, 4, 8]
    assert _sizes(CPU, explain=True) == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "sticky"),
    [
        ("CUDA error: device-side assert triggered", True),
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: out of memory", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("Expected 3 channels, got 4", False),
    ],
)
def test_only_ruined_contexts_end_the_process(*, text: str, sticky: bool) -> None:
    """Exhausted memory passes; other CUDA errors stay until the process ends."""
    assert is_sticky_cuda_error(RuntimeError(text)) is sticky
