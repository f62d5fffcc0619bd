"""Decides which results may be written over: those that nobody reads any more."""

from typing import Final

import torch
from torch import fx, nn

from model_store.fuse.attention import Scale, ScaledSum, Selection, WeightedSum
from model_store.fuse.convolution import Convolution, PackedLinear, PlaneMean, Sum
from model_store.fuse.tracing import module_at

_OWNERS: Final = (
    Convolution,
    PackedLinear,
    PlaneMean,
    Scale,
    ScaledSum,
    Selection,
    Sum,
    WeightedSum,
    nn.BatchNorm2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
)
"""Modules whose result is memory of their own, or of an input that nobody else reads any more and that they
have written over. All else may give a view, so neither it nor what it reads is written over."""


def allow_overwriting(net: fx.GraphModule) -> None:
    """Tell each module that can write over its first input whether it may, in this order of the graph."""
    place = {node: index for index, node in enumerate(net.graph.nodes)}
    for node in net.graph.nodes:
        module = module_at(node, net)
        if isinstance(module, Scale | ScaledSum | Sum | WeightedSum):
            first, *others = node.args
            last = all(place[reader] <= place[node] for reader in first.users)
            module.overwrites = last and first not in others and _owned(first, net)


def _owned(node: fx.Node, net: fx.GraphModule) -> bool:
    """Tell whether a result is memory that no other result shares."""
    return all(
        one.target is torch.cat or isinstance(module_at(one, net), _OWNERS) for one in (node, *node.users)
    )
