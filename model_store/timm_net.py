"""Nets of timm, packaged as they are: any that becomes TorchScript, with its images prepared as timm says.

The zoo's own rows offer more for the nets that both have: the gates of their attention, and weights of other
projects. Here weights have timm's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from model_store import timm_library
from model_store.build import (
    BUILDING,
    READING,
    Architecture,
    Order,
    ReadyNet,
    file_card,
    input_recipe,
    labels_of_checkpoint,
    numbered_labels,
    pack_net,
    with_random_weights,
)
from model_store.errors import InputError
from model_store.pack import write_archive
from model_store.signature import require_labels
from model_store.weights.fill import fill_same_names
from model_store.weights.read import read


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmNet:
    """What is wanted of timm.

    Attributes:
        name: A net, with or without the tag of its weights, such as "seresnet50.a1_in1k".
        weights: A file with timm's names; None: timm's own weights or random ones.
        pretrained: Whether timm is to fetch its own weights.
        labels: One per class, in the order of the logits; None: those of timm's weights.
    """

    name: str
    weights: Path | None = None
    pretrained: bool = False
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A net with its weights, and what is known of them."""

    net: nn.Module
    labels: tuple[str, ...]
    weights: Mapping[str, Any] = field(default_factory=dict)


def build_timm(wanted: TimmNet, order: Order, output: Path) -> Path:
    """Package a net of timm.

    Args:
        wanted: The net and its weights.
        order: What else is wanted; without a name the model has timm's.
        output: The folder for the archive.

    Raises:
        InputError: Unknown net, a preparation of images that the handler has not, weights or labels that do
            not fit.
        BuildError: timm cannot be imported, or its weights cannot be fetched.
        ModuleNotFoundError: timm, or what it needs, is not installed.
        ParityError: No TorchScript form computes what the net computes.
    """
    config = timm_library.config_of(wanted.name)
    order = replace(order, name=order.name or wanted.name)
    recipe = order.recipe or input_recipe(timm_library.recipe_of(wanted.name, config))
    found = _found(wanted, config, order)
    ready = ReadyNet(
        architecture=Architecture(
            name=f"timm/{wanted.name}",
            family=timm_library.family_of(wanted.name),
            attention=timm_library.attention_of(found.net),
            form=timm_library.form_of(wanted.name),
            source=f"timm {timm_library.version()}: {wanted.name}",
            recipe=recipe,
        ),
        net=found.net,
        labels=found.labels,
        trained=wanted.pretrained or wanted.weights is not None,
        card={"weights": dict(found.weights)} if found.weights else {},
    )
    return write_archive(output, pack_net(ready, order))


def _found(wanted: TimmNet, config: Mapping[str, Any], order: Order) -> _Found:
    if wanted.weights is not None:
        return _from_file(wanted, wanted.weights, order)
    if wanted.pretrained:
        return _fetched(wanted, config, order)
    labels = wanted.labels
    if labels is None:
        labels = numbered_labels(config["num_classes"])
    return _Found(net=_made(wanted.name, labels, order), labels=labels)


def _from_file(wanted: TimmNet, path: Path, order: Order) -> _Found:
    labels = labels_of_checkpoint(wanted.labels)
    order.on_step(READING)
    file = read(path)
    net = _made(wanted.name, labels, order)
    fill_same_names(net, file, classes=len(labels))
    return _Found(net=net, labels=labels, weights=file_card(file, "timm", order.provenance))


def _fetched(wanted: TimmNet, config: Mapping[str, Any], order: Order) -> _Found:
    """Return a net for exactly the classes of timm's weights: for others timm would make a random head."""
    timm_library.require_weights(wanted.name, config)
    labels = timm_library.labels_of(wanted.name, config) if wanted.labels is None else wanted.labels
    require_labels(labels)
    if len(labels) != config["num_classes"]:
        raise InputError(
            f"labels: {len(labels)} given, but the weights of {wanted.name} have "
            f"{config['num_classes']} classes"
        )
    order.on_step(READING)
    net = timm_library.fetch(wanted.name)
    return _Found(net=net, labels=labels, weights=_of_config(config))


def _made(name: str, labels: tuple[str, ...], order: Order) -> nn.Module:
    """Return a net with random weights, always the same ones."""
    require_labels(labels)
    order.on_step(BUILDING)
    return with_random_weights(partial(timm_library.make, name), len(labels))


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card says of timm's own weights."""
    hub = config.get("hf_hub_id")
    return {
        "source": f"https://huggingface.co/{hub}" if hub else config.get("url"),
        "layout": "timm",
        "licence": config.get("license"),
    }
