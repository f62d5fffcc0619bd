"""signature.json: what an archive says of itself, as values that are valid from birth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, Literal, get_args

from model_store.errors import InputError
from model_store.options import CUDA_DTYPE, CudaDtype
from model_store.proof import Parity
from model_store.recipe_table import Recipe, cuda_dtype, require_recipes
from model_store.script import GateBlock

FORMAT: Final = 1
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16)
MAX_SIDE: Final = 4096
CHANNELS: Final = 3
MIN_CLASSES: Final = 2
# Where pydantic reads a user's document into these classes, it is to refuse keys that they lack.
NO_OTHER_KEYS: Final = {"extra": "forbid"}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How an image of any size becomes the net's input.

    Attributes:
        method: "stretch": to `size` exactly; "shorter_side": the shorter side to size[0], then a centre crop.
        size: (H, W).
        interpolation: Pillow's filter of that name, with its anti-aliasing.
    """

    __pydantic_config__: ClassVar = NO_OTHER_KEYS

    method: Literal["stretch", "shorter_side"]
    size: tuple[int, int]
    interpolation: Literal["bilinear", "bicubic"]

    def __post_init__(self) -> None:
        """Check each value."""
        require_choice("input.resize.method", self.method, ("stretch", "shorter_side"))
        require_choice("input.resize.interpolation", self.interpolation, ("bilinear", "bicubic"))
        _require_size("input.resize.size", self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecipe:
    """From RGB bytes to the net's input: resize, divide by 255, subtract `mean`, divide by `std`.

    Attributes:
        size: (H, W) of the net's input.
        resize: How to get there.
        mean: Per channel, R, G, B, on the scale 0..1.
        std: Per channel, above 0.
    """

    __pydantic_config__: ClassVar = NO_OTHER_KEYS

    size: tuple[int, int]
    resize: Resize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Check each value."""
        _require_size("input.size", self.size)
        for name, values in (("input.mean", self.mean), ("input.std", self.std)):
            if len(values) != CHANNELS:
                raise InputError(f"{name}: {list(values)} must be {CHANNELS} numbers, one per channel")
        if min(self.std) <= 0:
            raise InputError(f"input.std: {list(self.std)} must be above 0")
        if self.resize.method == "stretch" and self.resize.size != self.size:
            raise InputError(
                f"input.resize.size: {list(self.resize.size)} must be input.size {list(self.size)} to stretch"
            )
        if self.resize.method == "shorter_side" and self.resize.size[0] < max(self.size):
            raise InputError(
                f"input.resize.size: {list(self.resize.size)} must not be below input.size {list(self.size)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which model this is.

    Attributes:
        name: [a-z0-9][a-z0-9_.-]{0,63}.
        version: An integer as text, "1".."999999".
        architecture: A zoo row, or "torchscript" for a user's own net.
        family: Of the backbone: resnet, ...
        attention: none, se, eca, sk, ...; "unknown" for a user's own net.
        trained: False for random weights.
    """

    name: str
    version: str
    architecture: str
    family: str
    attention: str
    trained: bool

    def __post_init__(self) -> None:
        """Check name and version."""
        require_name(self.name)
        require_version(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The whole of signature.json.

    Attributes:
        identity: Which model.
        recipe: How its input is made.
        labels: K distinct class names in the order of the logits.
        attention_layout: Columns of the `attention` output; empty: not offered.
        weights_sha256: Of model.pt.
        parity: The proof that TorchScript computes what the eager net computes.
        card: Free: parameters, macs, accuracy, confusion, split, training_seconds, source.
        batch_buckets: Batch sizes that a worker warms up, in images.
        threads: CPU threads of the forward pass; None: all cores.
        cuda_dtype: What the net computes in on CUDA; where there are recipes, what the first one for it does.
        recipes: Forms in which the net can be run, the preferred one first; empty: `portable` alone.
        spin: How often a waiting thread looks for work before it sleeps; None: as the OpenMP library does.
    """

    identity: Identity
    recipe: InputRecipe
    labels: tuple[str, ...]
    attention_layout: tuple[GateBlock, ...]
    weights_sha256: str
    parity: Parity
    card: Mapping[str, Any] = field(default_factory=dict)
    batch_buckets: tuple[int, ...] = BATCH_BUCKETS
    threads: int | None = None
    cuda_dtype: CudaDtype = CUDA_DTYPE
    recipes: tuple[Recipe, ...] = ()
    spin: int | None = None

    def __post_init__(self) -> None:
        """Check what no inner value could check."""
        require_labels(self.labels)
        require_choice("dtype.cuda", self.cuda_dtype, get_args(CudaDtype))
        require_recipes(self.recipes)
        _require_precision(self.cuda_dtype, self.recipes)
        require_card(self.card)
        if not self.batch_buckets or min(self.batch_buckets) < 1:
            raise InputError(
                f"batch_buckets: {list(self.batch_buckets)} must be positive integers, at least one"
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads: {self.threads} must be at least 1, or null for all cores")
        if self.spin is not None and self.spin < 0:
            raise InputError(f"spin: {self.spin} must be at least 0, or null for the library's own")

    def as_dict(self) -> dict[str, Any]:
        """The document, as signature.schema.json describes it."""
        return {
            "format": FORMAT,
            **asdict(self.identity),
            "input": asdict(self.recipe),
            "dtype": {"cpu": "float32", "cuda": self.cuda_dtype},
            "labels": list(self.labels),
            "attention_layout": [asdict(block) for block in self.attention_layout],
            "batch_buckets": list(self.batch_buckets),
            "threads": self.threads,
            "weights_sha256": self.weights_sha256,
            "parity": asdict(self.parity),
            "card": dict(self.card),
            **({"recipes": [asdict(recipe) for recipe in self.recipes]} if self.recipes else {}),
            **({} if self.spin is None else {"spin": self.spin}),
        }

    def to_json(self) -> bytes:
        """The file's bytes."""
        return document_bytes(self.as_dict())


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """signature.json's bytes: UTF-8, sorted keys, a newline at the end."""
    return f"{_json(document)}\n".encode()


def require_name(name: str) -> None:
    """Refuse a model name that could not be a file name or a part of a URL.

    Raises:
        InputError: with the rule.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"name: {name!r} must match {_NAME.pattern}")


def require_version(version: str) -> None:
    """Refuse a version that is not an integer from 1 to 999999.

    Raises:
        InputError: with the rule.
    """
    if not _VERSION.fullmatch(version):
        raise InputError(f"version: {version!r} must be an integer from 1 to 999999")


def require_labels(labels: tuple[str, ...]) -> None:
    """Refuse fewer than two labels, empty ones and repeated ones.

    Raises:
        InputError: naming the first label at fault.
    """
    if len(labels) < MIN_CLASSES:
        raise InputError(f"labels: {len(labels)} given, at least {MIN_CLASSES} are needed")
    seen: dict[str, int] = {}
    for position, label in enumerate(labels):
        if not label.strip():
            raise InputError(f"labels[{position}]: {label!r} must not be empty")
        if label in seen:
            raise InputError(
                f"labels[{position}]: {label!r} stands already at {seen[label]}; labels must be distinct"
            )
        seen[label] = position


def require_card(card: object) -> None:
    """Refuse a card that JSON cannot hold.

    Raises:
        InputError: with the reason.
    """
    if not isinstance(card, Mapping):
        raise InputError(f"card: must map names to plain values, got {type(card).__name__}")
    try:
        _json(dict(card))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"card: must hold plain values that JSON knows: {error}") from error


def require_choice(parameter: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        InputError: naming parameter, value and choices.
    """
    if value not in choices:
        raise InputError(f"{parameter}: {value!r} must be one of {', '.join(choices)}")


def _require_precision(found: CudaDtype, recipes: tuple[Recipe, ...]) -> None:
    expected = cuda_dtype(recipe.name for recipe in recipes) or CUDA_DTYPE
    if recipes and found != expected:
        raise InputError(f"dtype.cuda: {found!r} must be {expected!r}, as the first recipe for CUDA has it")


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _require_size(parameter: str, size: tuple[int, int]) -> None:
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise InputError(
            f"{parameter}: {list(size)} must be a height and a width from 1 to {MAX_SIDE} pixels"
        )
