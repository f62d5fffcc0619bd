"""Finds in a graph what one operator of oneDNN computes, and puts that operator there.

The order matters: sums and attention first, as they take convolutions in; then convolutions with their
activations; then what is left. Nothing here knows any net: only kinds of nodes, and who reads whose result.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias, TypeGuard

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_store.fuse.attention import PLACES_PER_CHANNEL, Scale, ScaledSum, Selection, WeightedSum
from model_store.fuse.convolution import Convolution, PackedLinear, PlaneMean, Sum, bias_of
from model_store.fuse.heads import Head, Matrix, head_of, selection_head
from model_store.fuse.tracing import module_at, replace_by_module, shape_of
from model_store.nets.gate import ChannelScale
from model_store.nets.sk import SelectiveKernelConv

Activation: TypeAlias = tuple[str, tuple[float, ...]]
"""oneDNN's name of a function, and its numbers."""

_NONE: Final[Activation] = ("none", ())
_RELU: Final[Activation] = ("relu", ())
_RELU6: Final[Activation] = ("hardtanh", (0.0, 6.0))

ACTIVATIONS: Final[Mapping[object, Activation]] = MappingProxyType(
    {
        nn.ReLU: _RELU,
        nn.ReLU6: _RELU6,
        nn.Sigmoid: ("sigmoid", ()),
        nn.SiLU: ("swish", ()),
        nn.Tanh: ("tanh", ()),
        nn.Hardswish: ("hardswish", ()),
        F.relu: _RELU,
        F.relu6: _RELU6,
        F.silu: ("swish", ()),
        F.hardswish: ("hardswish", ()),
        torch.relu: _RELU,
        torch.sigmoid: ("sigmoid", ()),
        torch.tanh: ("tanh", ()),
        "relu": _RELU,
        "sigmoid": ("sigmoid", ()),
        "tanh": ("tanh", ()),
    }
)
"""Kind of module, function or name of method -> the activation that it is."""

_SUMS: Final = (operator.add, torch.add, "add")
_MEANS: Final = (torch.mean, "mean")
_PLANES: Final = ((2, 3), (3, 2), (-2, -1), (-1, -2))
_TERMS: Final = 2  # of a sum
_IMAGES: Final = 4  # dimensions of features [N, C, H, W]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """Rewrites a traced net.

    Attributes:
        net: the graph; its nodes know their shapes.
        dtype: of features and weights.
    """

    net: fx.GraphModule
    dtype: torch.dtype

    def run(self) -> None:
        """Apply every pattern."""
        for pattern in (_sum, _scale, _selection, _convolution, _mean, _linear):
            for node in list(self.net.graph.nodes):
                if node.users:
                    pattern(self, node)
            self.net.graph.eliminate_dead_code()
        self.net.recompile()

    def called(self, node: object) -> nn.Module | None:
        """Return the module that a node calls; None: it calls none."""
        return module_at(node, self.net)

    def activation(self, node: fx.Node | None) -> Activation | None:
        """Return the activation that a node is; None: it is another operation."""
        if node is None or len(node.all_input_nodes) != 1 or len(node.args) != 1:
            return None
        module = self.called(node)
        return ACTIVATIONS.get(node.target if module is None else type(module))

    def convolution(self, conv: nn.Conv2d, source: fx.Node, activation: Activation = _NONE) -> Convolution:
        """Return the fused form of a convolution of what `source` gives."""
        name, limits = activation
        _images, *shape = shape_of(source)
        return Convolution(conv, name, list(limits), [1, *shape], self.dtype)

    def branch(self, path: nn.Module, source: fx.Node, *, split: bool) -> Convolution:
        """Return the fused form of a branch of an SK convolution: convolution, normalisation, ReLU."""
        conv, norm, _relu = path.children()
        assert isinstance(conv, nn.Conv2d), "an SK branch begins so"  # noqa: S101 # our own invariant
        assert isinstance(norm, nn.BatchNorm2d), "and goes on so"  # noqa: S101 # as above
        _images, channels, *sides = shape_of(source)
        name, limits = _RELU
        shape = [1, channels // 2 if split else channels, *sides]
        return Convolution(fuse_conv_bn_eval(conv, norm), name, list(limits), shape, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """Features that are to be scaled.

    Attributes:
        features: the node that gives them.
        squeezed: the node whose planes' means the gates come from.
        head: from those means to the gates.
        conv: the convolution of `squeezed` into which the gates can go, instead of into what it gives.
    """

    features: fx.Node
    squeezed: fx.Node
    head: Head | Matrix
    conv: nn.Conv2d | None = None


def is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Tell whether a module is a convolution of images that pads with zeros, by numbers."""
    return type(conv) is nn.Conv2d and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Tell whether a convolution maps each place by itself, and all of them."""
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1


def only_reader(node: fx.Node) -> fx.Node | None:
    """Return the node that reads a result, if there is exactly one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def _sum(rewriter: Rewriter, node: fx.Node) -> None:
    """Put a sum, and a ReLU after it, into the convolution or the attention that gives one of its terms."""
    terms = node.all_input_nodes
    if node.target not in _SUMS or len(terms) != _TERMS or len(node.args) != _TERMS or node.kwargs:
        return
    if shape_of(terms[0]) != shape_of(terms[1]) or len(shape_of(node)) != _IMAGES:
        return
    reader = only_reader(node)
    relu = "relu" if rewriter.activation(reader) == _RELU else None
    last = reader if relu and reader is not None else node
    for make in (_gated_sum, _convolved_sum):
        for branch, residual in (terms, terms[::-1]):
            if only_reader(branch) is node and make(rewriter, last, (branch, residual), relu):
                return


def _gated_sum(rewriter: Rewriter, last: fx.Node, terms: tuple[fx.Node, fx.Node], relu: str | None) -> bool:
    """Replace `last` by residual + gates * features, and ReLU; false: the branch is not gated."""
    branch, residual = terms
    gated = _gated(rewriter, branch)
    if gated is None:
        return False
    head = gated.head.layers(rewriter.dtype)
    if gated.conv is not None:
        weighted = WeightedSum(head, gated.conv, relu, rewriter.dtype)
        replace_by_module(last, weighted, (residual, gated.squeezed))
    else:
        scaled = ScaledSum(head, relu=relu is not None)
        replace_by_module(last, scaled, (residual, gated.features, gated.squeezed))
    return True


def _convolved_sum(
    rewriter: Rewriter, last: fx.Node, terms: tuple[fx.Node, fx.Node], relu: str | None
) -> bool:
    """Replace `last` by residual + convolution, and ReLU; false: the branch is no convolution."""
    branch, residual = terms
    conv = rewriter.called(branch)
    if not is_plain(conv):
        return False
    source = branch.all_input_nodes[0]
    replace_by_module(last, Sum(rewriter.convolution(conv, source), relu), (residual, source))
    return True


def _scale(rewriter: Rewriter, node: fx.Node) -> None:
    """Replace an attention that stands in no sum."""
    gated = _gated(rewriter, node, in_sum=False)
    if gated is not None:
        replace_by_module(node, Scale(gated.head.layers(rewriter.dtype)), (gated.features, gated.squeezed))


def _gated(rewriter: Rewriter, node: fx.Node, *, in_sum: bool = True) -> Gated | None:
    """Return what an attention at a node scales, and by what; None: there is none with a fused form."""
    block = rewriter.called(node)
    head = head_of(block.gate) if isinstance(block, ChannelScale) else None
    if head is None:
        return None
    features = node.all_input_nodes[0]
    conv = rewriter.called(features)
    if not is_plain(conv) or not is_pointwise(conv) or only_reader(features) is not node:
        return Gated(features=features, squeezed=features, head=head)
    into_weights = in_sum and math.prod(shape_of(features)[2:]) >= PLACES_PER_CHANNEL * conv.in_channels
    if not into_weights and not head.shrinks:
        return Gated(features=features, squeezed=features, head=head)
    return Gated(
        features=features,
        squeezed=features.all_input_nodes[0],
        head=head.merged(conv.weight.detach().flatten(1), bias_of(conv)),
        conv=conv if into_weights else None,
    )


def _selection(rewriter: Rewriter, node: fx.Node) -> None:
    """Replace an SK convolution of two branches."""
    block = rewriter.called(node)
    if not isinstance(block, SelectiveKernelConv):
        return
    source = node.all_input_nodes[0]
    branches = [rewriter.branch(path, source, split=block.split) for path in block.paths]
    head = selection_head(block.gate).layers(rewriter.dtype)
    replace_by_module(node, Selection(branches[0], branches[1], head, split=block.split), (source,))


def _convolution(rewriter: Rewriter, node: fx.Node) -> None:
    """Replace a convolution, and an activation that alone reads it."""
    conv = rewriter.called(node)
    if not is_plain(conv):
        return
    reader = only_reader(node)
    activation = rewriter.activation(reader)
    source = node.all_input_nodes[0]
    last = reader if activation and reader is not None else node
    replace_by_module(last, rewriter.convolution(conv, source, activation or _NONE), (source,))


def _mean(rewriter: Rewriter, node: fx.Node) -> None:
    """Replace a mean of each plane."""
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    if source is None or len(shape_of(source)) != _IMAGES:
        return
    pool = rewriter.called(node)
    if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1)):
        replace_by_module(node, PlaneMean(keepdim=True), (source,))
    elif node.target in _MEANS:
        given = dict(zip(("self", "dim", "keepdim"), node.args, strict=False)) | node.kwargs
        dimensions = given.get("dim")
        if isinstance(dimensions, tuple | list) and tuple(dimensions) in _PLANES and "dtype" not in given:
            replace_by_module(node, PlaneMean(keepdim=bool(given.get("keepdim"))), (source,))


def _linear(rewriter: Rewriter, node: fx.Node) -> None:
    """Replace a fully connected layer; one that gives the logits stays in FP32.

    Rounded to BF16, two logits in some hundred would be equal, and the class a matter of their order.
    """
    linear = rewriter.called(node)
    if type(linear) is not nn.Linear:
        return
    dtype = torch.float32 if gives_logits(node) else rewriter.dtype
    packed = PackedLinear(linear.weight.detach(), bias_of(linear), "none", dtype)
    replace_by_module(node, packed, (node.all_input_nodes[0],))


def gives_logits(node: fx.Node) -> bool:
    """Whether what a layer computes is what the net returns."""
    return all(user.op == "output" for user in node.users)
