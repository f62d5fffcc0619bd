"""Random weights that leave nothing at its neutral value, and how far two nets' answers are apart."""

import torch
from torch import Tensor, nn

SIDE = 64
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)


@torch.no_grad()
def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every weight, bias and running statistic anew, and set evaluation mode.

    Normalisations stay near 1, and other layers keep the size of what goes in, so that features neither
    vanish nor overflow in a deep net, and gates spread over (0, 1).
    """
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        for name, value in module.named_parameters(recurse=False):
            if isinstance(module, _NORMALISATIONS):
                centre = 1.0 if name == "weight" else 0.0
                value.copy_(centre + 0.1 * torch.randn(value.shape, generator=generator))
            else:
                fan_in = value[0].numel() if value.ndim > 1 else 1
                value.copy_(torch.randn(value.shape, generator=generator) / fan_in**0.5)
        if isinstance(module, _NORMALISATIONS):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return net.eval()


def images(side: int = SIDE) -> Tensor:
    """Three random images FP32 [3, 3, side, side], always the same ones."""
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def distance(found: nn.Module, expected: nn.Module, side: int = SIDE) -> float:
    """The largest difference of two nets' logits on random images, relative to the largest expected logit."""
    batch = images(side)
    wanted, got = expected.eval()(batch), found.eval()(batch)
    assert wanted.isfinite().all()
    return float((wanted - got).abs().max() / wanted.abs().max())
