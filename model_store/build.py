"""From a zoo row to an archive on disk: with a checkpoint's weights, with random ones, or trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from model_store import checkpoint, counts, digits, zoo
from model_store.errors import InputError
from model_store.options import CUDA_DTYPE, DEFAULT_OPTIONS, ServingOptions
from model_store.pack import Archive, is_current, pack, write_archive
from model_store.script import export
from model_store.signature import (
    Identity,
    InputRecipe,
    Resize,
    Signature,
    require_name,
    require_version,
    threads_for,
)
from model_store.sums import SUMS, read_sums, sha256
from model_store.train import Report, train

DEMO: Final = ("digits_plain", "digits_se", "digits_eca", "digits_sk")
UNTRAINED_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of an archive beside its net.

    Attributes:
        name: Of the model; None: its architecture's.
        version: An integer as text.
        options: How it is to be served.
        on_step: Told what is being done, before each step that takes seconds.
    """

    name: str | None = None
    version: str = "1"
    options: ServingOptions = DEFAULT_OPTIONS
    on_step: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        """Check name and version, long before the signature would."""
        if self.name is not None:
            require_name(self.name)
        require_version(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """A net with its weights, and what is known of them."""

    net: nn.Module
    labels: tuple[str, ...]
    trained: bool = True
    card: Mapping[str, Any] = field(default_factory=dict)
    real: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Told how a demo build goes on.

    Attributes:
        on_epoch: model, epoch from 1, validation accuracy.
        on_built: model, archive, and the report, which is None when the archive was there already.
    """

    on_epoch: Callable[[str, int, float], None] = lambda *_: None
    on_built: Callable[[str, Path, Report | None], None] = lambda *_: None


def build_checkpoint(
    architecture: str, weights: Path, labels: tuple[str, ...], order: Order, output: Path
) -> Path:
    """Package a zoo net with the weights of a checkpoint of our own format.

    Args:
        architecture: A name in the zoo.
        weights: The checkpoint.
        labels: One per class, in the order of the logits.
        order: What else is wanted.
        output: The folder for the archive.

    Raises:
        InputError: Unknown architecture, unreadable or misfitting checkpoint, wrong labels.
    """
    row = zoo.get(architecture)
    loaded = checkpoint.load(weights)
    if loaded.architecture != row.name:
        raise InputError(
            f"checkpoint: holds {loaded.architecture!r}, but the architecture asked for is {row.name!r}"
        )
    net = row.build(len(labels))
    checkpoint.load_weights(net, loaded.state_dict)
    return write_archive(output, _pack_row(row, _Filled(net=net, labels=labels, card=loaded.card), order))


def build_untrained(architecture: str, labels: tuple[str, ...] | None, order: Order, output: Path) -> Path:
    """Package a zoo net with random weights, always the same ones; its signature says so."""
    row = zoo.get(architecture)
    names = labels or tuple(f"class {index}" for index in range(row.classes))
    order.on_step("building the net")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        net = row.build(len(names))
    return write_archive(output, _pack_row(row, _Filled(net=net, labels=names, trained=False), order))


def build_demo(
    output: Path,
    *,
    checkpoints: Path | None = None,
    force: bool = False,
    names: tuple[str, ...] = DEMO,
    options: ServingOptions = DEFAULT_OPTIONS,
    listener: Listener = Listener(),
) -> list[Path]:
    """Train and package the digits nets; those that are there, intact and up to date are kept.

    Args:
        output: The folder for the archives.
        checkpoints: A folder for NAME.pt with each trained net's weights; None: not kept.
        force: Build anew what is there too.
        names: Zoo rows with ten classes.
        options: How they are to be served.
        listener: Told what happens.

    Returns:
        The archives, in the order of `names`.

    Raises:
        TrainingError: A net stayed below the accuracy that it must reach.
    """
    data = digits.load_split()
    paths = []
    for name in names:
        path = output / f"{name}.mar"
        if not force and _up_to_date(path, options):
            listener.on_built(name, path, None)
        else:
            row = zoo.get(name)
            net, report = _train(row, data, listener)
            if checkpoints is not None:
                _keep_weights(checkpoints / f"{name}.pt", name, net, report)
            write_archive(output, _pack_row(row, _trained(row, net, report, data), Order(options=options)))
            listener.on_built(name, path, report)
        paths.append(path)
    return paths


def input_recipe(recipe: zoo.Recipe) -> InputRecipe:
    """A zoo recipe as the signature writes it."""
    resize = Resize(method=recipe.resize_method, size=recipe.resize_size, interpolation=recipe.interpolation)
    return InputRecipe(size=recipe.input_size, resize=resize, mean=recipe.mean, std=recipe.std)


def _train(row: zoo.Row, data: digits.Digits, listener: Listener) -> tuple[nn.Module, Report]:
    return train(
        lambda: row.build(len(digits.LABELS)),
        input_recipe(row.recipe),
        data,
        on_epoch=lambda epoch, accuracy: listener.on_epoch(row.name, epoch, accuracy),
    )


def _keep_weights(path: Path, architecture: str, net: nn.Module, report: Report) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = checkpoint.Checkpoint(
        architecture=architecture, state_dict=net.state_dict(), card=report.as_card()
    )
    checkpoint.save(path, kept)


def _trained(row: zoo.Row, net: nn.Module, report: Report, data: digits.Digits) -> _Filled:
    real = digits.to_inputs(data.held_out.pixels, input_recipe(row.recipe))
    return _Filled(net=net, labels=digits.LABELS, card=report.as_card(), real=real)


def _up_to_date(path: Path, options: ServingOptions) -> bool:
    """Whether an archive is what its hash says, and would be served as a new one."""
    sums = path.with_name(SUMS)
    if not (path.exists() and sums.exists()):
        return False
    return read_sums(sums).get(path.name) == sha256(path.read_bytes()) and is_current(path, options)


def _pack_row(row: zoo.Row, filled: _Filled, order: Order) -> Archive:
    identity = Identity(
        name=order.name or row.name,
        version=order.version,
        architecture=row.name,
        family=row.family,
        attention=row.attention,
        trained=filled.trained,
    )
    order.on_step("turning it into TorchScript and proving that this computes the same")
    exported = export(filled.net, input_size=row.recipe.input_size, real=filled.real)
    macs = counts.macs(filled.net, row.recipe.input_size)
    signature = Signature(
        identity=identity,
        recipe=input_recipe(row.recipe),
        labels=filled.labels,
        attention_layout=exported.attention_layout,
        weights_sha256=sha256(exported.model),
        parity=exported.parity,
        card={"source": row.source, **filled.card, "parameters": counts.parameters(filled.net), "macs": macs},
        threads=threads_for(macs),
        cuda_dtype=order.options.cuda_dtype or CUDA_DTYPE,
    )
    order.on_step("packing")
    return pack(signature, exported, order.options)
