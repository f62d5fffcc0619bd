"""How the layers and the operations of a net are called in its diagrams.

A layer that has no words of its own is called by its class, an operation by its function.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from torch import fx, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation on one map of features.

    Attributes:
        text: What it is.
        opens: Whether it begins a line of its own, as convolutions do and what follows on them does not.
        widths: Numbers that go in and come out, where each of these depends on all of those and nothing else:
            of a linear layer or a 1x1 convolution.
    """

    text: str
    opens: bool = False
    widths: tuple[int, int] | None = None


JOINS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add": "sum",
        "iadd": "sum",
        "add_": "sum",
        "mul": "product",
        "imul": "product",
        "mul_": "product",
        "cat": "concatenation",
        "concat": "concatenation",
        "stack": "paths side by side",
        "max": "larger of both",
        "maximum": "larger of both",
    }
)
"""Operations on several maps of features -> what they make of them."""

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BottleneckAttention": "BAM",
        "ConvolutionalBlockAttention": "CBAM",
        "EfficientChannelAttention": "ECA",
        "SelectiveKernelConv": "SK (paths, fuse, select)",
        "SpatialChannelSE": "scSE",
        "SqueezeExcitation": "SE",
    }
)
"""Classes of attention blocks -> what their papers call them."""

_SILENT: Final = frozenset(
    {
        "contiguous",
        "expand",
        "expand_as",
        "flatten",
        "getattr",
        "getitem",
        "permute",
        "reshape",
        "size",
        "squeeze",
        "transpose",
        "unsqueeze",
        "view",
        "view_as",
    }
)
"""Operations that only change how numbers lie."""

_POOLS: Final[Mapping[str, str]] = MappingProxyType(
    {"mean": "mean", "amax": "max", "sum": "sum", "adaptive_avg_pool2d": "mean", "adaptive_max_pool2d": "max"}
)
_CONSTANTS: Final[Mapping[str, str]] = MappingProxyType(
    {"add": "+", "iadd": "+", "add_": "+", "mul": "×", "imul": "×", "mul_": "×"}
)
_PLAIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "chunk": "its share of the channels",
        "relu": "ReLU",
        "relu6": "ReLU6",
        "relu_": "ReLU",
        "split": "its share of the channels",
    }
)
_CHANNELS, _PLACES = 1, {2, 3}


def pair(value: object) -> str:
    """Write a size of one or two numbers: 3x3."""
    first, second = value if isinstance(value, tuple) else (value, value)
    return f"{first}x{second}"


def _conv2d(layer: nn.Conv2d) -> Step:
    groups, depthwise = layer.groups, 1 < layer.groups == layer.in_channels == layer.out_channels
    notes = [
        f"{pair(layer.kernel_size)} conv {layer.in_channels} -> {layer.out_channels}",
        f"stride {layer.stride[0]}" if layer.stride[0] > 1 else "",
        f"dilation {layer.dilation[0]}" if layer.dilation[0] > 1 else "",
        "depthwise" if depthwise else f"{groups} groups" if groups > 1 else "",
    ]
    dense = (layer.kernel_size, layer.stride, groups) == ((1, 1), (1, 1), 1)
    return Step(
        text=", ".join(filter(None, notes)),
        opens=True,
        widths=(layer.in_channels, layer.out_channels) if dense else None,
    )


def _conv1d(layer: nn.Conv1d) -> Step:
    size, widths = layer.kernel_size[0], (layer.in_channels, layer.out_channels)
    notes = [
        f"conv1d {widths[0]} -> {widths[1]}," if widths != (1, 1) else "conv1d",
        f"k={size}",
        f"in {layer.groups} groups" if layer.groups > 1 else "",
    ]
    dense = (size, layer.groups) == (1, 1) != widths
    return Step(text=" ".join(filter(None, notes)), opens=True, widths=widths if dense else None)


def _linear(layer: nn.Linear) -> Step:
    widths = layer.in_features, layer.out_features
    return Step(text=f"linear {widths[0]} -> {widths[1]}", opens=True, widths=widths)


def _pool(kind: str) -> Callable[[Any], Step]:
    def step(layer: Any) -> Step:  # noqa: ANN401  torch's pooling layers share no class with a kernel_size
        notes = [f"{pair(layer.kernel_size)} {kind} pool", f"stride {pair(layer.stride).partition('x')[0]}"]
        notes += ["rounded up"] if layer.ceil_mode else []
        return Step(text=", ".join(notes), opens=True)

    return step


_LAYERS: Final[Mapping[type[nn.Module], Callable[[Any], Step | None]]] = MappingProxyType(
    {
        nn.AdaptiveAvgPool2d: lambda _: Step(text="mean", opens=True),
        nn.AdaptiveMaxPool2d: lambda _: Step(text="max", opens=True),
        nn.AvgPool2d: _pool("mean"),
        nn.BatchNorm1d: lambda _: Step(text="BN"),
        nn.BatchNorm2d: lambda _: Step(text="BN"),
        nn.Conv1d: _conv1d,
        nn.Conv2d: _conv2d,
        nn.Dropout: lambda layer: Step(text=f"dropout {layer.p:g}"),
        nn.Flatten: lambda _: None,
        nn.Identity: lambda _: None,
        nn.Linear: _linear,
        nn.MaxPool2d: _pool("max"),
        nn.Sigmoid: lambda _: Step(text="sigmoid"),
        nn.Softmax: lambda _: Step(text="softmax"),
        nn.Unflatten: lambda _: None,
    }
)


def of_layer(layer: nn.Module) -> Step | None:
    """Say what a layer of torch does; None: nothing to the numbers."""
    words = _LAYERS.get(type(layer))
    return Step(text=type(layer).__name__) if words is None else words(layer)


def of_operation(node: fx.Node, name: str) -> Step | None:
    """Say what an operation outside of layers does; None: nothing to the numbers.

    Args:
        node: Of one map of features.
        name: Of its function or method.
    """
    if name in _SILENT:
        return None
    if name in _POOLS:
        return Step(text=_POOLS[name] + _over(node, name))
    if name in _CONSTANTS:
        return _with_constant(node, name)
    return Step(text=_PLAIN.get(name, name))


def _over(node: fx.Node, name: str) -> str:
    """Say what a pooling pools, where that is not the places."""
    dimensions = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    found = set(dimensions) if isinstance(dimensions, tuple | list) else {dimensions}
    if found == {_CHANNELS}:
        return " of the paths" if name == "sum" else " over channels"
    return ""


def _with_constant(node: fx.Node, name: str) -> Step:
    for value in node.args:
        if isinstance(value, int | float):
            return Step(text=f"{_CONSTANTS[name]} {value:g}")
    return Step(text=f"{_CONSTANTS[name]} weight" if "mul" in name else f"{_CONSTANTS[name]} bias")
