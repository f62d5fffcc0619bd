"""A net seen from outside: its stages with what they cost, and its kinds of blocks with their diagrams.

Nothing is computed but shapes: the net runs on the meta device, without data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model_store import counts
from model_store.diagram import diagram, holds_gate, is_layer, one_line, title
from model_store.nets.gate import ChannelGate

Shape: TypeAlias = tuple[int, ...]
Macs: TypeAlias = Callable[[str], int]

_WIDTHS: Final = re.compile(r"\d+ (?=->)|(?<=-> )\d+|(?<=k=)\d+|\d+(?= groups)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some modules hold and compute.

    Attributes:
        parameters: Trainable numbers.
        macs: Multiply-adds of the convolutions and linear layers for one image.
    """

    parameters: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks in a row whose output has the same shape, or the layers before or after all blocks.

    Attributes:
        name: Of what its parts have in common.
        content: Layers in words, or how many blocks of which kind.
        output: Shape of one image's features after it, without the batch.
        cost: Of all of it.
        attention: The share of `cost` that is attention; of SK the gate's alone, without its paths.
        gate: What its first attention computes; "" where it has none.
    """

    name: str
    content: str
    output: Shape
    cost: Cost
    attention: Cost
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Blocks that differ in nothing but their widths.

    Attributes:
        title: Their class.
        names: All of them, in the net's order.
        input: Shape of what goes into the first, without the batch.
        output: Shape of what comes out of it.
        lines: Its diagram.
    """

    title: str
    names: tuple[str, ...]
    input: Shape
    output: Shape
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A net's stages and its kinds of blocks, both from the input to the output."""

    stages: tuple[Stage, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """A block, or a layer outside of the blocks."""

    name: str
    module: nn.Module
    input: Shape
    output: Shape


def outline(net: nn.Module, input_size: tuple[int, int]) -> Outline:
    """Run a net without data and say what it is made of.

    Args:
        net: On the meta device; maps FP32 [N, 3, H, W] to anything.
        input_size: H and W, in pixels.
    """
    units: list[_Unit] = []
    counter = FlopCounterMode(display=False)
    hooks = [
        module.register_forward_hook(_note(name, units)) for name, module in _outermost(net) if module != net
    ]
    with torch.inference_mode(), counter:
        net.eval()(torch.empty(1, 3, *input_size, device="meta"))
    for hook in hooks:
        hook.remove()
    counted = counter.get_flop_counts()

    def macs(name: str) -> int:
        return sum(counted.get(f"{type(net).__name__}.{name}", {}).values()) // 2

    return Outline(stages=tuple(_stages(units, macs)), kinds=_kinds(units))


def _outermost(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Find blocks and layers from outside, through the containers of torch and not into blocks."""
    for name, child in module.named_children():
        if type(child) in {nn.Sequential, nn.ModuleList}:
            yield from _outermost(child, f"{path}{name}.")
        else:
            yield f"{path}{name}", child


def _note(name: str, units: list[_Unit]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        units.append(_Unit(name=name, module=module, input=shapes[0], output=shapes[1]))

    return hook


# --- stages -----------------------------------------------------------------------------------------------


def _stages(units: Sequence[_Unit], macs: Macs) -> Iterator[Stage]:
    blocks = [index for index, unit in enumerate(units) if not is_layer(unit.module)] or [0]
    first, last = blocks[0], blocks[-1]

    def key(place: tuple[int, _Unit]) -> object:
        index, unit = place
        return "stem" if index < first else "head" if index > last else unit.output

    for found, places in groupby(enumerate(units), key):
        group = [unit for _, unit in places]
        yield _stage(found if isinstance(found, str) else _common_name(group, units), group, macs)


def _stage(name: str, units: Sequence[_Unit], macs: Macs) -> Stage:
    attentions = [
        (f"{unit.name}.{path}".rstrip("."), module)
        for unit in units
        for path, module in unit.module.named_modules()
        if holds_gate(module)
    ]
    shares = [_share(path, module) for path, module in attentions]
    return Stage(
        name=name,
        content=_content(units),
        output=units[-1].output,
        cost=_cost([(unit.name, unit.module) for unit in units], macs),
        attention=_cost(shares, macs),
        gate=one_line(shares[0][1]).removesuffix(", times the features") if shares else "",
    )


def _share(path: str, module: nn.Module) -> tuple[str, nn.Module]:
    """Return what of a block is attention: where paths compete they are convolutions, and the gate is."""
    gate = module.gate
    return (f"{path}.gate", gate) if isinstance(gate, ChannelGate) and gate.branches > 1 else (path, module)


def _cost(parts: Sequence[tuple[str, nn.Module]], macs: Macs) -> Cost:
    return Cost(
        parameters=sum(counts.parameters(module) for _, module in parts),
        macs=sum(macs(name) for name, _ in parts),
    )


def _content(units: Sequence[_Unit]) -> str:
    if all(is_layer(unit.module) for unit in units):
        return ", ".join(diagram(nn.Sequential(*(unit.module for unit in units))))
    names = [title(unit.module) for unit in units if not is_layer(unit.module)]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))


def _common_name(group: Sequence[_Unit], units: Sequence[_Unit]) -> str:
    """Return the name of the container that holds just these, else the first name and the last."""
    container = group[0].name.rpartition(".")[0]
    if container and [unit for unit in units if unit.name.rpartition(".")[0] == container] == list(group):
        return container
    return group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name}"


# --- kinds ------------------------------------------------------------------------------------------------


def _kinds(units: Sequence[_Unit]) -> tuple[Kind, ...]:
    found: dict[tuple[str, ...], list[_Unit]] = {}
    lines: dict[tuple[str, ...], list[str]] = {}
    for unit in units:
        if is_layer(unit.module):
            continue
        drawn = diagram(unit.module)
        key = (title(unit.module), *(_WIDTHS.sub("#", line) for line in drawn))
        found.setdefault(key, []).append(unit)
        lines.setdefault(key, drawn)
    return tuple(
        Kind(
            title=key[0],
            names=tuple(unit.name for unit in same),
            input=same[0].input,
            output=same[0].output,
            lines=tuple(lines[key]),
        )
        for key, same in found.items()
    )
