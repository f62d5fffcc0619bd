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
from model_store.pack import SUMS, Archive, has_current_handlers, pack, read_sums, sha256, write_archive
from model_store.script import export
from model_store.signature import Identity, InputRecipe, Resize, Signature, threads_for
from model_store.train import Report, train

DEMO: Final = ("digits_plain", "digits_se", "digits_eca", "digits_sk")
UNTRAINED_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How the model is to be called; None: after its architecture or file."""

    name: str | None = None
    version: str = "1"


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
    architecture: str, weights: Path, labels: tuple[str, ...], naming: Naming, output: Path
) -> Path:
    """Package a zoo net with the weights of a checkpoint of our own format.

    Args:
        architecture: A name in the zoo.
        weights: The checkpoint.
        labels: One per class, in the order of the logits.
        naming: Name and version.
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
    return write_archive(output, _pack_row(row, _Filled(net=net, labels=labels, card=loaded.card), naming))


def build_untrained(architecture: str, labels: tuple[str, ...] | None, naming: Naming, output: Path) -> Path:
    """Package a zoo net with random weights, always the same ones; its signature says so."""
    row = zoo.get(architecture)
    names = labels or tuple(f"class {index}" for index in range(row.classes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        net = row.build(len(names))
    return write_archive(output, _pack_row(row, _Filled(net=net, labels=names, trained=False), naming))


def build_demo(
    output: Path,
    *,
    checkpoints: Path | None = None,
    force: bool = False,
    names: tuple[str, ...] = DEMO,
    listener: Listener = Listener(),
) -> list[Path]:
    """Train and package the digits nets; those that are there and match their hash are kept.

    Args:
        output: The folder for the archives.
        checkpoints: A folder for NAME.pt with each trained net's weights; None: not kept.
        force: Build anew what is there too.
        names: Zoo rows with ten classes.
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
        if not force and _up_to_date(path):
            listener.on_built(name, path, None)
        else:
            net, report = _train(zoo.get(name), data, listener)
            if checkpoints is not None:
                _keep_weights(checkpoints / f"{name}.pt", name, net, report)
            write_archive(output, _pack_trained(zoo.get(name), net, report, data))
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


def _pack_trained(row: zoo.Row, net: nn.Module, report: Report, data: digits.Digits) -> Archive:
    real = digits.to_inputs(data.held_out.pixels, input_recipe(row.recipe))
    filled = _Filled(net=net, labels=digits.LABELS, card=report.as_card(), real=real)
    return _pack_row(row, filled, Naming())


def _up_to_date(path: Path) -> bool:
    """Whether an archive is what its hash says, and carries the handlers of today."""
    sums = path.with_name(SUMS)
    if not (path.exists() and sums.exists()):
        return False
    return read_sums(sums).get(path.name) == sha256(path.read_bytes()) and has_current_handlers(path)


def _pack_row(row: zoo.Row, filled: _Filled, naming: Naming) -> Archive:
    identity = Identity(
        name=naming.name or row.name,
        version=naming.version,
        architecture=row.name,
        family=row.family,
        attention=row.attention,
        trained=filled.trained,
    )
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
    )
    return pack(signature, exported)
