"""Fill a net of the zoo with a file's weights: everything fits, or the first thing that does not is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from model_store import counts, zoo
from model_store.errors import InputError
from model_store.nets.gate import ChannelGate
from model_store.weights.converted import Converted, converted, shapes_of
from model_store.weights.forms import in_form
from model_store.weights.layout import Layout
from model_store.weights.layouts import recognise
from model_store.weights.read import WeightsFile
from model_store.weights.settings import differences, settings_of
from model_store.zoo import Form, Row

_SHOWN: Final = 3
_SIDE: Final = 64  # pixels; all nets take any size, and a small one tells two apart as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A net with a file's weights, and what was found out on the way.

    Attributes:
        net: FP32 [N, 3, H, W] to logits [N, classes], in eval mode.
        layout: How the file's weights are written.
        settings: What differs from the row that was asked for, such as kernel_size: how it is in the file.
        row: The row that the net is: of the form that was asked for, and with the file's settings if there
            is such a row.
    """

    net: nn.Module
    layout: Layout
    settings: Mapping[str, str]
    row: Row


def fill(row: Row, file: WeightsFile, *, classes: int, form: Form | None = None) -> Filled:
    """Build a row's net, with the settings that the weights' shapes show, and load the weights.

    Args:
        row: The net to be filled.
        file: The weights.
        classes: How many there are to be.
        form: The graph that the weights were trained in, where their names cannot tell.

    Raises:
        InputError: Unknown layout, undecided or wrong form, wrong number of classes, weights that are missing
            or left over, of a wrong shape, or that ask for what a block refuses; the message names the layer.
    """
    layout = recognise(file.tensors)
    row = in_form(row, file, layout, form)
    net = row.build(classes).eval()
    weights = converted(layout, file, net)
    _require_classes(net, weights, classes)
    usual = settings_of(net)
    _fit_gates(net, weights)
    _require_fit(net, weights)
    net.load_state_dict(dict(weights.tensors), strict=False)
    settings = differences(usual, settings_of(net))
    return Filled(
        net=net, layout=layout, settings=settings, row=_same_net(row, net, classes) if settings else row
    )


def fill_same_names(net: nn.Module, file: WeightsFile, *, classes: int) -> None:
    """Load weights into a net that has the very names and shapes of the file.

    Args:
        net: The net, of any project.
        file: The weights.
        classes: How many the net was built for.

    Raises:
        InputError: Wrong number of classes, weights that are missing or left over, or of a wrong shape.
    """
    weights = Converted(tensors=file.tensors, origin={})
    _require_classes(net, weights, classes)
    _require_fit(net, weights)
    net.load_state_dict(dict(weights.tensors), strict=False)


# --- settings -------------------------------------------------------------------------------------------


def _fit_gates(net: nn.Module, weights: Converted) -> None:
    """Replace each gate by one with the settings that its weights show."""
    gates = [(name, gate) for name, gate in net.named_modules() if isinstance(gate, ChannelGate)]
    for name, gate in gates:
        prefix = f"{name}."
        shapes = {
            key.removeprefix(prefix): tuple(value.shape)
            for key, value in weights.tensors.items()
            if key.startswith(prefix)
        }
        try:
            net.set_submodule(name, gate.fitted(shapes))
        except ValueError as error:
            first = next(key for key in weights.tensors if key.startswith(prefix))
            raise InputError(f"checkpoint: {weights.named(first)}: {error}") from error


def _same_net(row: Row, net: nn.Module, classes: int) -> Row:
    """Return the row that is this very net, or else the one that was asked for."""
    _, head = _linear_layers(net)[-1]
    shapes, parameters, per_class = shapes_of(net), counts.parameters(net), head.in_features + 1
    for other in zoo.TABLE.values():
        if (other.family, other.attention, other.form) != (row.family, row.attention, row.form):
            continue
        if other.parameters != parameters + (other.classes - classes) * per_class:
            continue  # by far most rows: no net need be built
        candidate = other.build(classes).eval()
        if shapes_of(candidate) == shapes and _computes_the_same(candidate, net, other):
            return other
    return row


@torch.inference_mode()
def _computes_the_same(candidate: nn.Module, net: nn.Module, row: Row) -> bool:
    """Compare two nets' answers with the same weights: shapes do not tell max from mean pooling."""
    candidate.load_state_dict(net.state_dict())
    sides = [min(side, _SIDE) for side in row.recipe.input_size]
    image = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
    return bool(torch.allclose(candidate(image), net(image)))


# --- whether everything fits ----------------------------------------------------------------------------


def _require_classes(net: nn.Module, weights: Converted, classes: int) -> None:
    for head, _ in _linear_layers(net)[-1:]:  # a convolution gives the logits of some nets of others
        found = weights.tensors.get(f"{head}.weight")
        if found is not None and found.ndim and len(found) != classes:
            key = weights.origin.get(f"{head}.weight", f"{head}.weight")
            raise InputError(f"labels: {classes} given, but {key} has {len(found)} classes")


def _linear_layers(net: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Return the linear layers of a net and their names; the last one, if any, gives the logits."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)]


def _require_fit(net: nn.Module, weights: Converted) -> None:
    """Refuse weights that are missing, left over or of another shape: all at once, a few of each named."""
    wanted = shapes_of(net)
    found = {key: tuple(value.shape) for key, value in weights.tensors.items()}
    problems = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [weights.named(key) for key in found if key not in wanted],
        "of another shape": [
            f"{weights.named(key)}: expected {list(shape)}, found {list(found[key])}"
            for key, shape in wanted.items()
            if key in found and found[key] != shape
        ],
    }
    told = [f"{len(names)} {kind}: {_shortened(names)}" for kind, names in problems.items() if names]
    if told:
        raise InputError(f"checkpoint: the weights do not fit the architecture; {'; '.join(told)}")


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown
