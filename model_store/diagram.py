"""The block diagram of a module in text, drawn from what it computes.

`torch.fx` follows the module's code; what is drawn is the graph that it finds: which layers follow each
other, where the way forks, and what joins it again. So a diagram cannot differ from its net, and a block of
any kind has one. What fx cannot follow is drawn as the list of its layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, TypeAlias

from torch import fx, nn

from model_store import diagram_words as words
from model_store.diagram_words import Step
from model_store.nets.gate import ChannelGate

Element: TypeAlias = "Step | Join | Group"
Chain: TypeAlias = tuple[Element, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Where several ways from one place meet.

    Attributes:
        name: Of the operation.
        arms: What lies on each way; empty: nothing.
    """

    name: str
    arms: tuple[Chain, ...]

    @property
    def scales(self) -> Chain | None:
        """What makes the factors, where features are multiplied by what was made of them."""
        if words.JOINS[self.name] != "product" or len(self.arms) != 2 or () not in self.arms:  # noqa: PLR2004
            return None
        return self.arms[0] or self.arms[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An attention block inside another block."""

    title: str
    chain: Chain


def diagram(module: nn.Module) -> list[str]:
    """Draw a module, from what goes into it down to what comes out, one string a line."""
    return _lines(chain_of(module)) or ["as it is"]


def one_line(module: nn.Module) -> str:
    """Draw a module, such as a gate, in one line."""
    return _inline(chain_of(module))


def chain_of(module: nn.Module) -> Chain:
    """Return what a module does, step by step."""
    try:
        graph = _Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, ValueError):
        # The module decides by its data, or by more of its input than fx can stand in for.
        return _layers(module)
    return _Reader(module, graph).read()


def holds_gate(module: nn.Module) -> bool:
    """Whether a module is an attention block: one with a gate for channels of its own."""
    return isinstance(getattr(module, "gate", None), ChannelGate)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is torch's own, with no others inside."""
    return type(module).__module__.startswith("torch.nn") and not any(module.children())


def _layers(module: nn.Module) -> Chain:
    """Return the layers of a module in the order in which they were made."""
    steps = (words.of_layer(layer) for layer in module.modules() if not any(layer.children()))
    return tuple(step for step in steps if step is not None)


class _Tracer(fx.Tracer):
    """Follows a module's code, but not into the attention blocks inside it: each has its own diagram."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return holds_gate(m) or super().is_leaf_module(m, module_qualified_name)


class _Reader:
    """Turns a graph into a chain.

    Between a fork and its join, every way to the join leads through the fork: the fork dominates it. So a
    node's dominators, from the input down, tell where the arms of a join begin.
    """

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        self._module = module
        self._graph = graph
        self._dominators: dict[fx.Node, tuple[fx.Node, ...]] = {}
        for node in graph.nodes:
            above = [self._dominators[source] for source in self._sources(node)]
            self._dominators[node] = (*_common(above), node)

    def read(self) -> Chain:
        (output,) = (node for node in self._graph.nodes if node.op == "output")
        source = next(node for node in self._graph.nodes if node.op == "placeholder")
        return self._chain(self._sources(output)[0], source)

    def _chain(self, node: fx.Node, start: fx.Node) -> Chain:
        """Return what lies between `start`, which dominates `node`, and the result of `node`."""
        found: list[Element] = []
        while node is not start:
            sources = self._sources(node)
            if len(sources) > 1:
                fork = _common([self._dominators[source] for source in sources])[-1]
                arms = tuple(self._chain(source, fork) for source in sources)
                found.append(Join(name=self._name(node), arms=arms))
                node = fork
            else:
                element = self._element(node)
                found += [] if element is None else [element]
                node = sources[0]
        return tuple(reversed(found))

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        """Return the features that a node computes with: neither weights nor shapes."""
        inputs = [source for source in node.all_input_nodes if source.op != "get_attr"]
        if len(inputs) > 1 and self._name(node) not in words.JOINS:
            return inputs[:1]
        return inputs

    def _element(self, node: fx.Node) -> Step | Group | None:
        if node.op != "call_module":
            return words.of_operation(node, self._name(node))
        module = self._module.get_submodule(str(node.target))
        if holds_gate(module):
            return Group(title=title(module), chain=chain_of(module))
        return words.of_layer(module)

    @staticmethod
    def _name(node: fx.Node) -> str:
        return node.target if isinstance(node.target, str) else str(node.target.__name__)


def title(module: nn.Module) -> str:
    """Return what a module is called: an attention block as its paper calls it, another by its class."""
    name = type(module).__name__
    return words.TITLES.get(name, name)


def _common(chains: Sequence[tuple[fx.Node, ...]]) -> tuple[fx.Node, ...]:
    """Return the common dominators: the common beginning, as those of any node lie on one line."""
    if not chains:
        return ()
    level = takewhile(lambda nodes: len(set(nodes)) == 1, zip(*chains, strict=False))
    return tuple(nodes[0] for nodes in level)


# --- text -------------------------------------------------------------------------------------------------

_FIRST, _MORE, _LAST, _AFTER = "├─ ", "│  ", "└─ ", "   "
_TIMES: Final = ", times the features"


def _lines(chain: Chain) -> list[str]:
    lines: list[str] = []
    for element in chain:
        if isinstance(element, Group):
            lines += _group_lines(element)
        elif isinstance(element, Join):
            lines += _join_lines(element)
        elif element.opens or not lines:
            lines.append(element.text)
        else:
            lines[-1] += f", {element.text}"
    return lines


def _group_lines(group: Group) -> list[str]:
    inner = _lines(group.chain)
    if len(inner) == 1:
        return [f"{group.title}: {inner[0]}"]
    return [f"{group.title}:", *(f"   {line}" for line in inner)]


def _join_lines(join: Join) -> list[str]:
    factors = join.scales
    if factors is not None:
        return [_inline(factors) + _TIMES]
    shortcut = _shortcut(join)
    lines = []
    for index, arm in enumerate(join.arms):
        inner = _lines(arm) or ["as it is"]
        if index == shortcut:
            inner[0] = f"shortcut: {inner[0]}"
        first, more = (_LAST, _AFTER) if index == len(join.arms) - 1 else (_FIRST, _MORE)
        lines += [first + inner[0], *(more + line for line in inner[1:])]
    return [*lines, words.JOINS[join.name]]


def _shortcut(join: Join) -> int | None:
    """Return which of two arms of a sum is the shortcut: the one with fewer steps."""
    if words.JOINS[join.name] != "sum" or len(join.arms) != 2:  # noqa: PLR2004  a residual sum is of two
        return None
    first, second = map(len, join.arms)
    return None if first == second else int(second < first)


def _inline(chain: Chain) -> str:
    """Write a chain with arrows; a linear layer as its widths, and those that follow from before left out."""
    texts: list[str] = []
    width: int | None = None
    for element in chain:
        if isinstance(element, Step) and element.widths is not None:
            before, after = element.widths
            texts.append(str(after) if before == width else f"{before} -> {after}")
            width = after
        else:
            texts.append(_inline_other(element))
    return " -> ".join(texts)


def _inline_other(element: Element) -> str:
    if isinstance(element, Step):
        return element.text
    if isinstance(element, Group):
        return f"{element.title}: {_inline(element.chain)}"
    if element.scales is not None:
        return _inline(element.scales) + _TIMES
    arms = [_inline(arm) or "as it is" for arm in element.arms]
    return f"{words.JOINS[element.name]} of ({') and ('.join(arms)})"
