"""The demo's archives: four small nets, trained here on scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from torch import nn

from model_store import checkpoint, digits, zoo
from model_store.build import Architecture, Order, ReadyNet, input_recipe, pack_net
from model_store.options import DEFAULT_OPTIONS, ServingOptions
from model_store.pack import is_current, write_archive
from model_store.recipes import Choice
from model_store.sums import SUMS, read_sums, sha256
from model_store.train import Report, train

DEMO: Final = ("digits_plain", "digits_se", "digits_eca", "digits_sk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Told how a demo build goes on.

    Attributes:
        on_epoch: model, epoch from 1, validation accuracy.
        on_built: model, archive, and the report, which is None when the archive was there already.
        on_choice: model, and the forms in which it is going to be served.
    """

    on_epoch: Callable[[str, int, float], None] = lambda *_: None
    on_built: Callable[[str, Path, Report | None], None] = lambda *_: None
    on_choice: Callable[[str, Choice], None] = lambda *_: None


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
            order = Order(options=options, on_choice=partial(listener.on_choice, name))
            write_archive(output, pack_net(_trained(row, net, report, data), order))
            listener.on_built(name, path, report)
        paths.append(path)
    return paths


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


def _trained(row: zoo.Row, net: nn.Module, report: Report, data: digits.Digits) -> ReadyNet:
    real = digits.to_inputs(data.held_out.pixels, input_recipe(row.recipe))
    card = {**report.as_card(), "weights": {"source": "trained by attnserve build --demo"}}
    architecture = Architecture.of_row(row, len(digits.LABELS))
    return ReadyNet(architecture=architecture, net=net, labels=digits.LABELS, card=card, real=real)


def _up_to_date(path: Path, options: ServingOptions) -> bool:
    """Whether an archive is what its hash says, and would be served as a new one."""
    sums = path.with_name(SUMS)
    if not (path.exists() and sums.exists()):
        return False
    return read_sums(sums).get(path.name) == sha256(path.read_bytes()) and is_current(path, options)
