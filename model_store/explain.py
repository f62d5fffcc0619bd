"""What the attention of several nets makes of one image, through the code that serves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from model_store.errors import ArchiveError, InputError, nearest
from model_store.gate_figures import Floats, GateFigures, figures
from model_store.served import ServedArchive

MOST_PROBABLE: Final = 3
_SUFFIX: Final = ".mar"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGates:
    """The gates of one block for one image.

    Attributes:
        block: Its name in the net.
        gates: [M, C], M branches by C channels.
        figures: What they look like.
    """

    block: str
    gates: Floats
    figures: GateFigures

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        branches, channels = self.gates.shape
        return {
            "block": self.block,
            "branches": branches,
            "channels": channels,
            **asdict(self.figures),
            "gates": self.gates.tolist(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A class and how probable the net finds it."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One net's answer to the image.

    Attributes:
        model: Its name and, where there are several of that name, its version.
        version: An integer as text.
        architecture: A zoo row, or "torchscript".
        attention: none, se, eca, sk, ...
        trained: False for random weights.
        guesses: The most probable classes, best first.
        blocks: In forward order; empty: the net has no gates.
    """

    model: str
    version: str
    architecture: str
    attention: str
    trained: bool
    guesses: tuple[Guess, ...]
    blocks: tuple[BlockGates, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        inner = {
            "guesses": [asdict(guess) for guess in self.guesses],
            "blocks": [block.as_dict() for block in self.blocks],
        }
        names = ("model", "version", "architecture", "attention", "trained")
        return {**{name: getattr(self, name) for name in names}, **inner}


def explain(image: bytes, archive: Path) -> Explained:
    """Classify an image and read the gates of each block.

    Args:
        image: A file of any kind that is served.
        archive: A .mar file; its code is run, so it must be trusted.

    Raises:
        InputError: The image or the archive cannot be read.
        ArchiveError: The archive is damaged, or its net fails.
    """
    with ServedArchive(archive) as served:
        signature = served.signature
        layout = signature["attention_layout"]
        batch = served.run([image], explain=bool(layout))
        if batch.failures:
            raise InputError(f"{batch.failures[0]}, says {signature['name']}")
        gates = np.empty(0) if batch.gates is None else batch.gates[0]
        return Explained(
            model=signature["name"],
            version=signature["version"],
            architecture=signature["architecture"],
            attention=signature["attention"],
            trained=signature["trained"],
            guesses=_guesses(batch.probabilities[0], served.labels),
            blocks=tuple(_blocks(gates, layout, archive)),
        )


def _guesses(probabilities: Floats, labels: Sequence[str]) -> tuple[Guess, ...]:
    best = np.argsort(-probabilities, kind="stable")[:MOST_PROBABLE]
    return tuple(Guess(label=labels[index], probability=float(probabilities[index])) for index in best)


def _blocks(gates: Floats, layout: Sequence[Mapping[str, Any]], archive: Path) -> Iterator[BlockGates]:
    """Cut the columns [C] into blocks as the layout says."""
    first = 0
    for entry in layout:
        shape = entry["branches"], entry["channels"]
        of_block = gates[first : first + shape[0] * shape[1]].reshape(shape)
        first += of_block.size
        try:
            described = figures(of_block)
        except ValueError as error:
            raise ArchiveError(f"archive: {str(archive)!r}: {entry['block']}: {error}") from error
        yield BlockGates(block=entry["block"], gates=of_block, figures=described)


def read_image(path: Path) -> bytes:
    """Return an image file's bytes.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"image: cannot read {str(path)!r}: {error.strerror}") from error


def find_archive(model: str, store: Path) -> Path:
    """Return the archive that is meant by a path, or by the name of one in a store.

    Raises:
        InputError: There is none; the text has the nearest names.
    """
    given = Path(model)
    if given.is_file():
        return given
    names = {path.name.removesuffix(_SUFFIX): path for path in sorted(store.glob(f"*{_SUFFIX}"))}
    if model in names:
        return names[model]
    if given.suffix == _SUFFIX or len(given.parts) > 1:
        raise InputError(f"model: there is no file {model!r}")
    there = f"such as {nearest(model, names)}" if names else "but there are no archives in it"
    raise InputError(f"model: must be an archive or the name of one in {store}, {there}, got {model!r}")
