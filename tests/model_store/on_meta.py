"""Every net of the zoo without data, built once for all tests of a run."""

from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.nets.gate import ChannelGate

DRAWING = ("kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "uniform_", "zeros_")


def undrawn(weights: Tensor, *_settings: object, **_named: object) -> Tensor:
    """Leave weights without data as they are: drawing them takes two thirds of the time and does nothing."""
    return weights


@cache
def net_of(name: str) -> nn.Module:
    """The net of a row with its documented classes; not to be changed."""
    row = zoo.get(name)
    left: dict[str, Any] = dict.fromkeys(DRAWING, undrawn)
    with torch.device("meta"), patch.multiple(nn.init, **left):
        return row.build(row.classes).eval()


def shapes_of(net: nn.Module) -> dict[str, torch.Size]:
    """Name of a weight or statistic -> its shape, in order."""
    return {name: value.shape for name, value in net.state_dict().items()}


def gates_of(name: str) -> dict[str, ChannelGate]:
    """Name of a gate in a row's net, without the last part -> the gate, in order of registration."""
    parts = net_of(name).named_modules()
    return {path.removesuffix(".gate"): part for path, part in parts if isinstance(part, ChannelGate)}
