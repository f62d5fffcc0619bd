"""The settings of a net's gates, read from their weights: in what one row of the zoo differs from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from torch import Tensor, nn

from model_store.nets.gate import ChannelGate

Settings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Setting -> block -> its value there."""


def _kernel_size(weights: Mapping[str, Tensor]) -> str | None:
    kernel = weights.get("conv.weight")
    return None if kernel is None else str(kernel.shape[-1])


def _hidden(weights: Mapping[str, Tensor]) -> str | None:
    layer = weights.get("fc1.weight")
    return None if layer is None else str(len(layer))


def _biases(weights: Mapping[str, Tensor]) -> str | None:
    if "fc1.weight" not in weights:
        return None
    return "yes" if weights.keys() & {"fc1.bias", "fc2.bias"} else "no"


_READ: Final[Mapping[str, Callable[[Mapping[str, Tensor]], str | None]]] = MappingProxyType(
    {"kernel_size": _kernel_size, "hidden": _hidden, "biases": _biases}
)


def settings_of(net: nn.Module) -> Settings:
    """Read what the gates of a net have: kernel sizes, hidden units, biases."""
    gates = {
        name.removesuffix(".gate"): gate.state_dict()
        for name, gate in net.named_modules()
        if isinstance(gate, ChannelGate)
    }
    return {
        setting: {name: value for name, weights in gates.items() if (value := read(weights)) is not None}
        for setting, read in _READ.items()
    }


def differences(usual: Settings, found: Settings) -> dict[str, str]:
    """Tell which settings of a net differ from the usual ones, and what they are there."""
    return {setting: summary(values) for setting, values in found.items() if values != usual.get(setting, {})}


def summary(values: Mapping[str, str]) -> str:
    """Write the values of a net's blocks in short: once, or for each stage, or for each block."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    stages: dict[str, set[str]] = {}
    for block, value in values.items():
        stages.setdefault(block.partition(".")[0], set()).add(value)
    if all(len(seen) == 1 for seen in stages.values()):
        return ", ".join(f"{value} in {stage}" for stage, (value,) in stages.items())
    return ", ".join(f"{value} in {block}" for block, value in values.items())
