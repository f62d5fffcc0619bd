"""From a net to the graph of what it computes: operations in order, none of which changes its input."""

import copy
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from model_store.errors import FuseError
from model_store.fuse.heads import head_of
from model_store.nets.gate import ChannelScale
from model_store.nets.sk import SelectiveKernelConv

FUSED = "fused_"  # begins the names of the modules that are put into a net
_PROBES = 2  # images that are sent through a net: with one alone, what broadcasts over images would not show
BRANCHES = 2  # of the SK convolutions that have a fused form

_OUT_OF_PLACE: Final[Mapping[Callable[..., Any], Callable[..., Any]]] = MappingProxyType(
    {operator.iadd: operator.add, operator.imul: operator.mul, operator.isub: operator.sub}
)


class Tracer(fx.Tracer):
    """Follows a net's code down to torch's own layers and to the attention blocks that have a fused form."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        # Found before the tracing begins, during which a net's weights cannot be seen.
        self._blocks = frozenset(block for block in net.modules() if has_fused_form(block))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a block is one node of the graph."""
        return m in self._blocks or super().is_leaf_module(m, module_qualified_name)


def has_fused_form(block: nn.Module) -> bool:
    """Tell whether an attention block is replaced as a whole."""
    if isinstance(block, ChannelScale):
        return type(block).forward is ChannelScale.forward and head_of(block.gate) is not None
    return type(block) is SelectiveKernelConv and block.gate.branches == BRANCHES


def traced(net: nn.Module, input_size: tuple[int, int]) -> fx.GraphModule:
    """Return the graph of a copy of a net in its eval mode; each node knows the shape of its result.

    Args:
        net: FP32 [N, 3, H, W] to logits [N, K].
        input_size: (H, W).

    Raises:
        FuseError: the net's code cannot be followed: it decides by its data, or leaves torch.
    """
    net = copy.deepcopy(net).eval().float()
    tracer = Tracer(net)
    try:
        graph = tracer.trace(net)
        module = fx.GraphModule(tracer.root, graph)
        _without_side_effects(module, (_PROBES, 3, *input_size))
    except (fx.proxy.TraceError, RuntimeError, TypeError, AttributeError, ValueError, NameError) as failure:
        reason = str(failure).strip().splitlines()[0] if str(failure).strip() else type(failure).__name__
        raise FuseError(f"the net's code cannot be followed: {reason}") from failure
    return module


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's result for a few images; empty: it is no tensor."""
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def module_at(node: object, net: fx.GraphModule) -> nn.Module | None:
    """Return the module that a node calls; None: it calls none."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return net.get_submodule(str(node.target))
    return None


def replace_by_module(node: fx.Node, module: nn.Module, inputs: tuple[fx.Node, ...]) -> fx.Node:
    """Put the call of a new module of the net in place of a node; what it was made from may become unused."""
    graph = node.graph
    name = FUSED + node.name
    net = graph.owning_module
    assert net is not None, "the graph is a net's"  # noqa: S101 # our own invariant
    net.add_submodule(name, module)
    with graph.inserting_before(node):
        new = graph.call_module(name, inputs)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    return new


def _without_side_effects(net: fx.GraphModule, shape: tuple[int, ...]) -> None:
    """Let each operation give a result of its own: whoever came after a change in place reads that result.

    Args:
        net: the graph; its nodes get to know their shapes.
        shape: of the images that are sent through it, [N, 3, H, W].

    Raises:
        FuseError: a change in place also shows somewhere else.
    """
    nodes = list(net.graph.nodes)
    changing = [node for node in nodes if _changes_its_input(node, net)]
    for node in changing:
        for later in nodes[nodes.index(node) + 1 :]:
            later.replace_input_with(node.args[0], node)
    net.graph.lint()
    net.recompile()
    prober = _Prober(net)
    with torch.inference_mode(mode=False), torch.no_grad():  # tensors of the inference mode have no versions
        prober.propagate(torch.zeros(shape))
    if prober.side_effect is not None:
        raise FuseError(f"the net's code cannot be followed: {prober.side_effect}")
    for node in changing:
        _make_pure(node, net)
    net.recompile()


class _Prober(ShapeProp):
    """Notes shapes, and watches whether an operation changes more in memory than its node tells."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self._net = net
        self.side_effect: str | None = None

    def run_node(self, n: fx.Node) -> object:
        """Run a node; results that share memory share a version, which each change in place raises."""
        told = n.args[0] if _changes_its_input(n, self._net) else None
        before = {node: _versions(value) for node, value in self.env.items()}
        result: object = super().run_node(n)
        for node, versions in before.items():
            changed = node is not told and _versions(self.env[node]) != versions
            if changed and (told is None or any(reader > n for reader in node.users)):
                self.side_effect = f"{n.name} changes {node.name} in place"
        return result


def _versions(value: object) -> list[int]:
    """Return the versions of the tensors in a node's result."""
    values = value if isinstance(value, tuple | list) else [value]
    tensors = [one for one in values if isinstance(one, Tensor) and not one.is_inference()]
    return [one._version for one in tensors]  # noqa: SLF001 # it has no public name


def _changes_its_input(node: fx.Node, net: fx.GraphModule) -> bool:
    """Tell whether an operation writes over its first input."""
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__")
    in_place = bool(getattr(module_at(node, net), "inplace", False) or node.kwargs.get("inplace"))
    return in_place or node.target in _OUT_OF_PLACE


def _make_pure(node: fx.Node, net: fx.GraphModule) -> None:
    """Let an operation that writes over its first input give a new result instead."""
    if node.op == "call_method":
        node.target = str(node.target).removesuffix("_")
    elif node.op == "call_module":
        net.get_submodule(str(node.target)).inplace = False  # type: ignore[assignment] # a bool in torch's
    elif "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": False}
    else:
        node.target = _OUT_OF_PLACE[node.target]  # type: ignore[index] # a function, as the operation says
