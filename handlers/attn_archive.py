"""What the unpacked archive says of itself: signature.json and SHA256SUMS.

Everything here fails with ArchiveError, a RuntimeError, because TorchServe reports only that and MemoryError
to whoever loads a model; any other exception makes it restart the worker again and again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .attn_device import DTYPES
from .attn_preprocess import Recipe
from .attn_recipes import ANY_DEVICE, PORTABLE, NetRecipe, implied_recipes

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "signature.json"
MODEL: Final = "model.pt"
_CHUNK_BYTES: Final = 1 << 20


class ArchiveError(RuntimeError):
    """The archive cannot be served as it is: its builder's or its carrier's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The keys of signature.json that serving needs.

    Attributes:
        name: The model's.
        version: The model's, an integer as text.
        labels: K of them, in the order of the logits.
        recipe: How an image becomes the input.
        gate_columns: Columns of the `attention` output; 0: not offered.
        net_recipes: The forms that the net can be served in, by preference; the last is portable.
        buckets: Batch sizes to warm up, ascending.
        threads: Of the forward pass on a CPU; None: all cores.
        document: The whole file, for `describe`.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    recipe: Recipe
    gate_columns: int
    net_recipes: tuple[NetRecipe, ...]
    buckets: tuple[int, ...]
    threads: int | None
    document: Mapping[str, object]


def verify_sums(folder: Path) -> str:
    """Compare every file that SHA256SUMS lists, and see that it lists every net.

    Args:
        folder: The unpacked archive.

    Returns:
        The archive's contents_sha256: the digest of SHA256SUMS itself.

    Raises:
        ArchiveError: A file differs, is missing, or the list is none; the message names the file.
    """
    try:
        text = (folder / SUMS).read_bytes()
        listed = [line.split("  ", 1) for line in text.decode().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{SUMS}: cannot be read: {error}") from error
    if not listed:
        raise ArchiveError(f"{SUMS}: lists no file")
    for entry in listed:
        if len(entry) != 2:  # noqa: PLR2004 # digest and name
            raise ArchiveError(f"{SUMS}: each line must be '<sha256>  <name>', got {entry[0]!r}")
        _verify(folder, name=entry[1], expected=entry[0])
    for net in sorted(folder.glob("*.pt")):
        if [net.name] not in [entry[1:] for entry in listed]:
            raise ArchiveError(f"{net.name}: {SUMS} does not list it")
    return hashlib.sha256(text).hexdigest()


def read_signature(folder: Path) -> Signature:
    """Read signature.json.

    Raises:
        ArchiveError: A key is missing or cannot be used; the message names it.
    """
    try:
        document = json.loads((folder / SIGNATURE).read_bytes(), parse_constant=_refuse_constant)
        return _signature(document)
    except OSError as error:
        raise ArchiveError(f"{SIGNATURE}: cannot be read: {error}") from error
    except KeyError as error:
        raise ArchiveError(f"{SIGNATURE}: the key {error.args[0]!r} is missing") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{SIGNATURE}: {error}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _verify(folder: Path, *, name: str, expected: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArchiveError(f"{SUMS}: {name!r} lies outside the archive")
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{name}: listed in {SUMS}, but cannot be read: {error}") from error
    if actual != expected:
        raise ArchiveError(f"{name}: its sha256 is {actual}, but {SUMS} says {expected}")


def _signature(document: Mapping[str, object]) -> Signature:
    keys = _Keys(document)
    return Signature(
        name=keys.text("name"),
        version=keys.text("version"),
        labels=tuple(str(label) for label in keys.items("labels")),
        recipe=_recipe(keys),
        gate_columns=sum(_columns(block) for block in keys.items("attention_layout")),
        net_recipes=_net_recipes(keys, document),
        buckets=_buckets(keys.items("batch_buckets")),
        threads=_threads(keys.value("threads")),
        document=document,
    )


def _recipe(keys: _Keys) -> Recipe:
    return Recipe(
        size=keys.height_width("input.size"),
        method=keys.text("input.resize.method"),
        resize=keys.height_width("input.resize.size"),
        interpolation=keys.text("input.resize.interpolation"),
        mean=keys.per_channel("input.mean"),
        std=keys.per_channel("input.std"),
    )


def _net_recipes(keys: _Keys, document: Mapping[str, object]) -> tuple[NetRecipe, ...]:
    tolerance = float(str(keys.value("parity.tolerance")))
    implied = implied_recipes(MODEL, keys.text("dtype.cuda"), tolerance)
    if "recipes" not in document:
        return implied
    recipes = tuple(_net_recipe(entry) for entry in keys.items("recipes"))
    if not recipes or recipes[-1].name != PORTABLE:
        raise ValueError(f"recipes: the last must be {PORTABLE}, got {[recipe.name for recipe in recipes]}")
    return recipes


def _net_recipe(entry: object) -> NetRecipe:
    keys = _Keys(entry, where="recipes[].")
    file, tolerance = keys.text("file"), keys.value("tolerance")
    if Path(file).name != file:
        raise ValueError(f"recipes[].file: must be a file's name, got {file!r}")
    if not isinstance(tolerance, int | float) or isinstance(tolerance, bool) or not tolerance > 0:
        raise ValueError(f"recipes[].tolerance: must be a number above 0, got {tolerance!r}")
    return NetRecipe(
        name=keys.text("name"),
        file=file,
        device=keys.one_of("device", ("cpu", "cuda", ANY_DEVICE)),
        dtype=keys.one_of("dtype", DTYPES),
        tolerance=float(tolerance),
    )


def _columns(block: object) -> int:
    keys = _Keys(block, where="attention_layout[].")
    return int(str(keys.value("channels"))) * int(str(keys.value("branches")))


def _buckets(sizes: list[object]) -> tuple[int, ...]:
    buckets = tuple(sorted(size for size in sizes if type(size) is int and size > 0))
    if not buckets or len(buckets) != len(sizes):
        raise ValueError(f"batch_buckets: must be integers of at least 1, got {sizes!r}")
    return buckets


def _threads(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise ValueError(f"threads: must be null or an integer of at least 1, got {value!r}")
    return value


class _Keys:
    """A JSON object whose keys are looked up by dotted path."""

    def __init__(self, document: object, *, where: str = "") -> None:
        self._document = document
        self._where = where

    def value(self, path: str) -> object:
        found = self._document
        for key in path.split("."):
            if not isinstance(found, dict) or key not in found:
                raise KeyError(self._where + path)
            found = found[key]
        return found

    def text(self, path: str) -> str:
        value = self.value(path)
        if not isinstance(value, str):
            raise TypeError(f"{self._where}{path}: must be text, got {value!r}")
        return value

    def one_of(self, path: str, known: Collection[str]) -> str:
        value = self.text(path)
        if value not in known:
            raise ValueError(f"{self._where}{path}: must be one of {', '.join(known)}, got {value!r}")
        return value

    def items(self, path: str) -> list[object]:
        value = self.value(path)
        if not isinstance(value, list):
            raise TypeError(f"{self._where}{path}: must be a list, got {value!r}")
        return value

    def height_width(self, path: str) -> tuple[int, int]:
        value = self.items(path)
        if len(value) != 2 or not all(type(side) is int and side > 0 for side in value):  # noqa: PLR2004 # H, W
            raise ValueError(f"{self._where}{path}: must be two integers above 0, got {value!r}")
        return int(str(value[0])), int(str(value[1]))

    def per_channel(self, path: str) -> tuple[float, float, float]:
        red, green, blue = (float(str(number)) for number in self.items(path))
        return red, green, blue
