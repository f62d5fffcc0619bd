"""Puts bytes where a fused net has floating point: what calculates on bytes, and what leads there and back.

Each result that comes from bytes is followed by a `Dequantise`, and whoever can take bytes takes them from
before it. So between two layers that both calculate on bytes there is nothing, and what has no form for bytes
goes on in floating point.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from model_store.fuse.attention import Scale, ScaledSum, Selection, WeightedSum
from model_store.fuse.convolution import Convolution, PackedLinear, PlaneMean, Sum
from model_store.fuse.heads import Band, BandLayer
from model_store.fuse.patterns import gives_logits
from model_store.fuse.tracing import module_at, replace_by_module, shape_of
from model_store.int8.convolution import ByteConvolution, ByteScale, ByteSum, ByteWeights, byte_selection
from model_store.int8.layers import ByteMean, BytePool, Dequantise, Quantise, light
from model_store.int8.ranges import Range, range_of

ACTIVATIONS: Final = frozenset({"none", "relu", "hardtanh", "hardswish", "swish"})
"""What oneDNN's convolution of bytes takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """A node whose result is UINT8, and what its bytes stand for."""

    node: fx.Node
    range: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiser:
    """Rewrites a fused net.

    Attributes:
        net: in FP32; its nodes know their shapes, and their ranges where they give features.
    """

    net: fx.GraphModule

    def run(self) -> None:
        """Give each node its form for bytes, if it has one."""
        for node in list(self.net.graph.nodes):
            module = self.called(node)
            rewrite = _FORMS.get(type(module))
            if rewrite is not None:
                rewrite(self, node, module)
        self.net.graph.eliminate_dead_code()
        self.net.delete_all_unused_submodules()
        _allow_overwriting(self.net)
        self.net.graph.lint()
        self.net.recompile()

    def called(self, node: object) -> nn.Module | None:
        """Return the module that a node calls; None: it calls none."""
        return module_at(node, self.net)

    def bytes_of(self, node: fx.Node) -> Bytes:
        """Return the bytes that a node's result comes from; where there are none, it is quantised."""
        module = self.called(node)
        if isinstance(module, Dequantise):
            return Bytes(node=node.all_input_nodes[0], range=Range(scale=module.scale, zero=module.zero))
        given = range_of(node)
        quantised = next((one for one in node.users if isinstance(self.called(one), Quantise)), None)
        return Bytes(node=quantised or self.call(node.next, Quantise(given), (node,)), range=given)

    def call(self, before: fx.Node, module: nn.Module, inputs: tuple[fx.Node, ...]) -> fx.Node:
        """Return a new call of a new module, put before a node."""
        name = f"bytes_{sum(1 for _ in self.net.children())}"
        self.net.add_submodule(name, module)
        with self.net.graph.inserting_before(before):
            return self.net.graph.call_module(name, inputs)

    def put(self, node: fx.Node, module: nn.Module, inputs: tuple[fx.Node, ...], result: Range) -> None:
        """Replace a node by a module that gives bytes of this range."""
        replace_by_module(node, Dequantise(result), (self.call(node, module, inputs),))

    def means_of(self, given: Bytes, before: fx.Node) -> fx.Node:
        """Return the node of the planes' means [N, C] of bytes."""
        return self.call(before, ByteMean(given.range, keepdim=False), (given.node,))

    def pointwise_only_for(self, reader: fx.Node, node: fx.Node) -> tuple[Bytes, ByteWeights] | None:
        """Return what a 1x1 convolution is given, and its weights, if all it gives goes to `reader` alone."""
        if not isinstance(self.called(node), Dequantise) or set(node.users) != {reader}:
            return None
        (source,) = node.all_input_nodes
        layer = self.called(source)
        if not isinstance(layer, ByteConvolution) or layer.activation != "none" or len(source.users) != 1:
            return None
        given = Bytes(node=source.all_input_nodes[0], range=layer.weights.range())
        return (given, layer.weights) if layer.weights.is_pointwise() else None


def _convolution(rewriter: Quantiser, node: fx.Node, conv: Convolution) -> None:
    if conv.activation not in ACTIVATIONS:
        return
    given, result = rewriter.bytes_of(node.all_input_nodes[0]), range_of(node)
    layer = ByteConvolution(ByteWeights(conv, given.range), conv, result)
    rewriter.put(node, layer, (given.node,), result)


def _sum(rewriter: Quantiser, node: fx.Node, module: Sum) -> None:
    residual, given = (rewriter.bytes_of(term) for term in _arguments(node))
    result = range_of(node)
    weights = ByteWeights(module.conv, given.range)
    layer = ByteSum(weights, None, module.activation, residual.range, result)
    rewriter.put(node, layer, (residual.node, given.node), result)


def _weighted_sum(rewriter: Quantiser, node: fx.Node, module: WeightedSum) -> None:
    residual, given = (rewriter.bytes_of(term) for term in _arguments(node))
    result = range_of(node)
    conv = _pointwise(module.weight, module.bias, shape_of(_arguments(node)[1]))
    weights = ByteWeights(conv, given.range)
    layer = ByteSum(weights, light(module.head), module.activation, residual.range, result)
    rewriter.put(node, layer, (residual.node, given.node, rewriter.means_of(given, node)), result)


def _scaled_sum(rewriter: Quantiser, node: fx.Node, module: ScaledSum) -> None:
    """Put the gates into the 1x1 convolution that gives the features; else into one that repeats them."""
    first, features, squeezed = _arguments(node)
    residual, result = rewriter.bytes_of(first), range_of(node)
    given, seen = rewriter.bytes_of(features), rewriter.bytes_of(squeezed)
    head, weights = module.head, _repeating(features, given.range)
    conv = rewriter.pointwise_only_for(node, features)
    if conv is not None and squeezed is not features:
        given, weights = conv
    elif conv is not None and isinstance(head, BandLayer):
        given, weights = conv
        head, seen = _before(weights, head), given
    layer = ByteSum(weights, light(head), "relu" if module.relu else None, residual.range, result)
    rewriter.put(node, layer, (residual.node, given.node, rewriter.means_of(seen, node)), result)


def _scale(rewriter: Quantiser, node: fx.Node, module: Scale) -> None:
    features, squeezed = _arguments(node)
    given, result = rewriter.bytes_of(features), range_of(node)
    means = rewriter.means_of(rewriter.bytes_of(squeezed), node)
    layer = ByteScale(_repeating(features, given.range), light(module.head), result)
    rewriter.put(node, layer, (given.node, means), result)


def _selection(rewriter: Quantiser, node: fx.Node, module: Selection) -> None:
    given = rewriter.bytes_of(_arguments(node)[0])
    replace_by_module(node, byte_selection(module, given.range), (given.node,))


def _pool(rewriter: Quantiser, node: fx.Node, pool: nn.MaxPool2d) -> None:
    source = _arguments(node)[0]
    if isinstance(rewriter.called(source), Dequantise) and pool.dilation == 1 and not pool.return_indices:
        given = rewriter.bytes_of(source)
        rewriter.put(node, BytePool(pool), (given.node,), given.range)


def _mean(rewriter: Quantiser, node: fx.Node, mean: PlaneMean) -> None:
    source = _arguments(node)[0]
    if isinstance(rewriter.called(source), Dequantise):
        given = rewriter.bytes_of(source)
        replace_by_module(node, ByteMean(given.range, keepdim=mean.keepdim), (given.node,))


def _linear(_rewriter: Quantiser, node: fx.Node, linear: PackedLinear) -> None:
    if not gives_logits(node):
        replace_by_module(node, light(linear), (_arguments(node)[0],))


_FORMS: Final[Mapping[type, Callable[[Quantiser, fx.Node, Any], None]]] = MappingProxyType(
    {
        Convolution: _convolution,
        Sum: _sum,
        WeightedSum: _weighted_sum,
        ScaledSum: _scaled_sum,
        Scale: _scale,
        Selection: _selection,
        nn.MaxPool2d: _pool,
        PlaneMean: _mean,
        PackedLinear: _linear,
    }
)
"""Kind of layer -> what gives it its form for bytes. All other layers stay in floating point."""


def _arguments(node: fx.Node) -> tuple[fx.Node, ...]:
    """Return the nodes that a layer reads, in order, with those that it reads twice."""
    return tuple(one for one in node.args if isinstance(one, fx.Node))


def _repeating(features: fx.Node, given: Range) -> ByteWeights:
    """Return the weights of a convolution that gives what it is given."""
    channels = shape_of(features)[1]
    ones = torch.ones(channels, 1, 1, 1)
    return ByteWeights(_pointwise(ones, torch.zeros(channels), shape_of(features)), given)


def _before(weights: ByteWeights, head: BandLayer) -> nn.Module:
    """Return the head for the means of what a 1x1 convolution is given, instead of those of what it gives."""
    taps = torch.tensor(head.taps)[None, None]
    return Band(taps=taps).merged(weights.matrix(), weights.bias).layers(torch.float32)


def _pointwise(weight: Tensor, bias: Tensor, shape: tuple[int, ...]) -> Convolution:
    """Return the 1x1 convolution with these weights [O, I / groups, 1, 1], of features of this shape."""
    groups = shape[1] // weight.size(1)
    conv = nn.Conv2d(shape[1], len(weight), 1, groups=groups)
    conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return Convolution(conv, "none", [], [1, *shape[1:]], torch.float32)


def _allow_overwriting(net: fx.GraphModule) -> None:
    """Tell each sum whether nobody reads its residual any more; bytes are never a view of other bytes."""
    place = {node: index for index, node in enumerate(net.graph.nodes)}
    for node in net.graph.nodes:
        module = module_at(node, net)
        if isinstance(module, ByteSum):
            residual, *others = _arguments(node)
            last = all(place[reader] <= place[node] for reader in residual.users)
            module.overwrites = last and residual not in others
