"""What a quantised net is made of beside its convolutions: TorchScript modules, to bytes and from them."""

import torch
from torch import Tensor, nn

from model_store.fuse.convolution import Numbers, PackedLinear
from model_store.int8.ranges import Range


class Quantise(nn.Module):
    """Floating point to bytes."""

    def __init__(self, given: Range) -> None:
        super().__init__()
        self.scale = given.scale
        self.zero = given.zero

    def forward(self, features: Tensor) -> Tensor:
        """Map FP32 [N, C, H, W] to UINT8, in the same layout."""
        whole = features.float().mul(1.0 / self.scale).add_(self.zero).round_()
        return whole.clamp_(0, 255).to(torch.uint8)


class Dequantise(nn.Module):
    """Bytes to floating point."""

    def __init__(self, given: Range) -> None:
        super().__init__()
        self.scale = given.scale
        self.zero = given.zero

    def forward(self, features: Tensor) -> Tensor:
        """Map UINT8 to FP32, in the same layout."""
        return features.float().sub_(self.zero).mul_(self.scale)


class ByteMean(nn.Module):
    """The mean of each plane of bytes."""

    def __init__(self, given: Range, *, keepdim: bool) -> None:
        super().__init__()
        self.scale = given.scale
        self.zero = given.zero
        self.keepdim = keepdim

    def forward(self, features: Tensor) -> Tensor:
        """Map UINT8 [N, C, H, W] to FP32 [N, C], or [N, C, 1, 1]."""
        means = features.mean([2, 3], keepdim=self.keepdim, dtype=torch.float32)
        return means.sub_(self.zero).mul_(self.scale)


class BytePool(nn.Module):
    """The largest of each window: bytes keep the order of what they stand for.

    Args:
        pool: without dilation.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.window = _pair(pool.kernel_size)
        self.stride = _pair(pool.stride)
        self.padding = _pair(pool.padding)
        self.ceil = bool(pool.ceil_mode)

    def forward(self, features: Tensor) -> Tensor:
        """Map UINT8 [N, C, H, W], channels_last, to UINT8 [N, C, H', W'], channels_last."""
        largest: Tensor = torch.ops.quantized.max_pool2d(
            features, self.window, self.stride, self.padding, [1, 1], self.ceil
        )
        return largest


class LightLinear(nn.Module):
    """A fully connected layer with weights in BF16: with few images its time is that of reading them."""

    def __init__(self, linear: PackedLinear) -> None:
        super().__init__()
        weight = linear.packed.to_dense()
        self.linear = PackedLinear(weight, linear.bias, linear.activation, torch.bfloat16)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, I] of any type to BF16 [N, O]."""
        output: Tensor = self.linear(features.to(torch.bfloat16))
        return output


def light(head: nn.Module) -> nn.Module:
    """Return a head from means to gates with its fully connected layers in BF16."""
    if isinstance(head, PackedLinear):
        return LightLinear(head)
    if isinstance(head, nn.Sequential):
        return nn.Sequential(*(light(layer) for layer in head))
    return head


def _pair(size: int | tuple[int, int]) -> Numbers:
    return [size, size] if isinstance(size, int) else list(size)
