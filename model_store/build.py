"""From a zoo row to an archive on disk: with weights from anybody's training, or with random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from model_store import counts, zoo
from model_store.calibration import makers, samples_for
from model_store.errors import InputError
from model_store.options import DEFAULT_OPTIONS, ServingOptions
from model_store.pack import Archive, pack, write_archive
from model_store.proof import proof_inputs
from model_store.recipes import MAKING, MEASURING, Choice, Origin, choose
from model_store.script import export
from model_store.signature import (
    Identity,
    InputRecipe,
    Resize,
    Signature,
    require_labels,
    require_name,
    require_version,
)
from model_store.sums import sha256
from model_store.weights.fill import Filled, fill
from model_store.weights.read import WeightsFile, read
from model_store.zoo import Form, Published, Row

UNTRAINED_SEED: Final = 0
READING: Final = "reading weights"
BUILDING: Final = "building the net"
PROVING: Final = "to TorchScript, proving it computes the same"
PACKING: Final = "packing"
STEPS: Final = (READING, BUILDING, PROVING, MAKING, MEASURING, PACKING)
"""What the build of a zoo net consists of, in order; those that there is nothing to do for are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a user says of a checkpoint.

    Attributes:
        form: The graph that it was trained in; None: its layout is to tell.
        source: Where it comes from, in words or as a link.
        licence: Under which it is given away.
    """

    form: Form | None = None
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of an archive beside its net.

    Attributes:
        name: Of the model; None: its architecture's.
        version: An integer as text.
        options: How it is to be served.
        recipe: How its images are prepared; None: as the zoo says.
        provenance: What is known of the checkpoint.
        calibration: Folder of real images, without which there is no cpu-int8; None: there is none.
        on_step: Told what is being done (`STEPS`), before each step that takes seconds.
        on_filled: Told what a checkpoint turned out to be.
        on_choice: Told in which forms the net is going to be served, and why.
    """

    name: str | None = None
    version: str = "1"
    options: ServingOptions = DEFAULT_OPTIONS
    recipe: InputRecipe | None = None
    provenance: Provenance = Provenance()
    calibration: Path | None = None
    on_step: Callable[[str], None] = lambda _: None
    on_filled: Callable[[Filled], None] = lambda _: None
    on_choice: Callable[[Choice], None] = lambda _: None

    def __post_init__(self) -> None:
        """Check name and version, long before the signature would."""
        if self.name is not None:
            require_name(self.name)
        require_version(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What an archive says of its architecture, whether that is a row of the zoo or somebody else's.

    Attributes:
        name: What users ask for.
        family: Of the backbone.
        attention: none, se, eca, sk, ...
        form: Which of two graphs that no weight's shape tells apart.
        source: Where it is defined.
        recipe: How its images are prepared where nobody says otherwise.
        published: The accuracies that others published of it.
    """

    name: str
    family: str
    attention: str
    form: Form
    source: str
    recipe: InputRecipe
    published: tuple[Published, ...] = ()

    @classmethod
    def of_row(cls, row: Row, classes: int) -> Architecture:
        """A row's; without its accuracies where the net tells another number of classes apart."""
        return cls(
            name=row.name,
            family=row.family,
            attention=row.attention,
            form=row.form,
            source=row.source,
            recipe=input_recipe(row.recipe),
            published=row.published if classes == row.classes else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyNet:
    """A net that only has to be packed.

    Attributes:
        architecture: What is known of it.
        net: FP32 [N,3,H,W] -> logits FP32 [N,K].
        labels: K names, in the order of the logits.
        trained: False for random weights.
        card: What to say of it beside the counts.
        real: Preprocessed real inputs FP32 [n,3,H,W] for the proof; None: there are none.
    """

    architecture: Architecture
    net: nn.Module
    labels: tuple[str, ...]
    trained: bool = True
    card: Mapping[str, Any] = field(default_factory=dict)
    real: torch.Tensor | None = None


def build_checkpoint(
    architecture: str, weights: Path, labels: tuple[str, ...], order: Order, output: Path
) -> Path:
    """Package a zoo net with weights that were trained anywhere.

    Args:
        architecture: A name in the zoo.
        weights: safetensors, or a torch file of tensors and plain values, in a layout that is known.
        labels: One per class, in the order of the logits.
        order: What else is wanted.
        output: The folder for the archive.

    Raises:
        InputError: Unknown architecture, unreadable or misfitting checkpoint, wrong labels.
    """
    row = zoo.get(architecture)
    require_labels(labels)
    order.on_step(READING)
    file = read(weights)
    order.on_step(BUILDING)
    filled = fill(row, file, classes=len(labels), form=order.provenance.form)
    order.on_filled(filled)
    weights_card = {
        **file_card(file, filled.layout.name, order.provenance),
        "form": filled.row.form,
        "settings": dict(filled.settings),
    }
    card = {**file.card, "weights": weights_card}
    found = Architecture.of_row(filled.row, len(labels))
    ready = ReadyNet(architecture=found, net=filled.net, labels=labels, card=card)
    return write_archive(output, pack_net(ready, order))


def build_untrained(architecture: str, labels: tuple[str, ...] | None, order: Order, output: Path) -> Path:
    """Package a zoo net with random weights, always the same ones; its signature says so."""
    row = zoo.get(architecture)
    names = numbered_labels(row.classes) if labels is None else labels
    require_labels(names)
    order.on_step(BUILDING)
    ready = ReadyNet(
        architecture=Architecture.of_row(row, len(names)),
        net=with_random_weights(row.build, len(names)),
        labels=names,
        trained=False,
    )
    return write_archive(output, pack_net(ready, order))


def numbered_labels(classes: int) -> tuple[str, ...]:
    """Names for classes that nobody has named."""
    return tuple(f"class {index}" for index in range(classes))


def with_random_weights(build: Callable[[int], nn.Module], classes: int) -> nn.Module:
    """Build a net with random weights, always the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return build(classes)


def labels_of_checkpoint(labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the labels, which trained weights cannot do without.

    Raises:
        InputError: There are none.
    """
    if labels is None:
        raise InputError(
            "--labels is required with --checkpoint: one class a line, in the order of the logits"
        )
    return labels


def input_recipe(recipe: zoo.Recipe) -> InputRecipe:
    """A zoo recipe as the signature writes it."""
    resize = Resize(method=recipe.resize_method, size=recipe.resize_size, interpolation=recipe.interpolation)
    return InputRecipe(size=recipe.input_size, resize=resize, mean=recipe.mean, std=recipe.std)


def pack_net(ready: ReadyNet, order: Order) -> Archive:
    """Turn a net into TorchScript, prove it, make its faster forms, and pack them.

    Raises:
        ParityError: No TorchScript form computes what the net computes.
        CalibrationError: The images to calibrate with are too few, or the net is untrained.
    """
    recipe = order.recipe or ready.architecture.recipe
    samples = samples_for(order.calibration, recipe, trained=ready.trained)
    if samples is not None and ready.real is None:
        ready = replace(ready, real=samples.held_out)
    architecture = ready.architecture
    order.on_step(PROVING)
    exported = export(ready.net, input_size=recipe.size, real=ready.real)
    macs = counts.macs(ready.net, recipe.size)
    origin = Origin(
        net=ready.net,
        inputs=proof_inputs(recipe.size, ready.real),
        macs=macs,
        makers=makers(samples),
    )
    choice = choose(exported, origin, order.options, on_step=order.on_step)
    order.on_choice(choice)
    signature = Signature(
        identity=_identity(ready, order),
        recipe=recipe,
        labels=ready.labels,
        attention_layout=exported.attention_layout,
        weights_sha256=sha256(exported.model),
        parity=exported.parity,
        card={
            "source": architecture.source,
            "form": architecture.form,
            **_published_card(architecture),
            **ready.card,
            "parameters": counts.parameters(ready.net),
            "macs": macs,
        },
        threads=choice.threads,
        cuda_dtype=choice.cuda_dtype,
        recipes=choice.net.recipes,
        spin=order.options.spin,
    )
    order.on_step(PACKING)
    return pack(signature, choice.net, order.options)


def _identity(ready: ReadyNet, order: Order) -> Identity:
    return Identity(
        name=order.name or ready.architecture.name,
        version=order.version,
        architecture=ready.architecture.name,
        family=ready.architecture.family,
        attention=ready.architecture.attention,
        trained=ready.trained,
    )


def file_card(file: WeightsFile, layout: str, provenance: Provenance) -> dict[str, Any]:
    """What the card says of where a file's weights come from; None: not said."""
    return {
        "source": provenance.source,
        "file": file.path.name,
        "sha256": file.sha256,
        "layout": layout,
        "licence": provenance.licence,
    }


def _published_card(architecture: Architecture) -> dict[str, Any]:
    """The accuracies that others published, if there are any."""
    return {"published": [asdict(one) for one in architecture.published]} if architecture.published else {}
