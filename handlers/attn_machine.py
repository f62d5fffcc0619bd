"""What the machine has of what recipes need: asked of torch, which may be older than these questions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from .attn_recipes import (
    BYTE_CONVOLUTIONS,
    CPU_BFLOAT16,
    CPU_BYTES,
    CUDA_BFLOAT16,
    FUSED_CONVOLUTIONS,
    Machine,
)

_CUDA_BFLOAT16_CAPABILITY: Final = (8, 0)  # CUDA C++ Programming Guide, table of feature support


def machine_of(device: torch.device) -> Machine:
    """What a device, and this torch, can do."""
    probes = _CUDA if device.type == "cuda" else _CPU
    has = frozenset(feature for feature, probe in probes.items() if probe(device))
    return Machine(device=device.type, features=has)


def _computes_bfloat16(_device: torch.device) -> bool:
    # Without these instructions oneDNN emulates bfloat16, which is slower than float32.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def _fuses_convolutions(_device: torch.device) -> bool:
    return _has_onednn() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def _multiplies_bytes(_device: torch.device) -> bool:
    # Without these instructions two products are added in 16 bits, which overflows.
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_vnni_supported", "_is_amx_tile_supported"))


def _convolves_bytes(_device: torch.device) -> bool:
    return _has_onednn() and hasattr(torch.ops.onednn, "qconv2d_pointwise")


def _has_onednn() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's lack
    return available


def _gpu_computes_bfloat16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= _CUDA_BFLOAT16_CAPABILITY


_CPU: Final[dict[str, Callable[[torch.device], bool]]] = {
    CPU_BFLOAT16: _computes_bfloat16,
    FUSED_CONVOLUTIONS: _fuses_convolutions,
    CPU_BYTES: _multiplies_bytes,
    BYTE_CONVOLUTIONS: _convolves_bytes,
}
_CUDA: Final[dict[str, Callable[[torch.device], bool]]] = {CUDA_BFLOAT16: _gpu_computes_bfloat16}
