"""How large and how costly a net is, in the units of the papers' tables."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    """Count the trainable numbers of `net`; running statistics are not among them."""
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net: nn.Module, input_size: tuple[int, int]) -> int:
    """Count the multiply-adds of the convolutions and linear layers of `net` for one image.

    These are what the papers call FLOPs; pooling, normalisation, activations and the scaling by gates are
    left out. What runs is a copy without data, so the net keeps its state.

    Args:
        net: maps FP32 [N, 3, H, W] to anything.
        input_size: H and W, in pixels.

    Returns:
        Multiply-adds: half the floating-point operations that PyTorch's counter reports.
    """
    shadow = copy.deepcopy(net).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        shadow(torch.empty(1, 3, *input_size, device="meta"))
    return counter.get_total_flops() // 2
