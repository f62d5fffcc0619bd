"""Recipes: the forms in which a worker can run an archive's net, as signature.json lists them.

An archive may carry several. A worker takes the first whose device it has, that its processor can run, and
whose logits are near enough to the eager net's; the last one, `portable`, runs everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Self, TypeAlias, get_args

from model_store.errors import InputError

RecipeName: TypeAlias = Literal["cpu-int8", "cpu-fused", "cpu-bf16", "cuda-fp16", "cuda-bf16", "portable"]
Dtype: TypeAlias = Literal["float32", "float16", "bfloat16"]
PORTABLE: Final[RecipeName] = "portable"
MODEL: Final = "model.pt"
TOLERANCE: Final = 1e-4  # of float32 against float32: freezing moves the last bits
BYTES_TOLERANCE: Final = 0.1  # of 8 bits for the range of a whole tensor; classes are checked apart
REDUCED_TOLERANCE: Final = 0.05  # of 8 or 11 bits of significand against 24, through a hundred layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all recipes of a name have in common.

    Attributes:
        device: Where it runs; "any": also where no other recipe does.
        dtype: Of the net's input, and of its weights unless they are bytes.
        tolerance: Largest difference from the eager net's logits, relative to the largest of them.
        file: Of the archive; that of `portable` where the worker makes the recipe when it loads.
        calibrated: Whether it is made with real images, and is meant for no others.
    """

    device: Literal["cpu", "cuda", "any"]
    dtype: Dtype
    tolerance: float = REDUCED_TOLERANCE
    file: str = MODEL
    calibrated: bool = False


KINDS: Final[Mapping[RecipeName, Kind]] = MappingProxyType(
    {
        "cpu-int8": Kind(
            device="cpu",
            dtype="float32",
            tolerance=BYTES_TOLERANCE,
            file="model.cpu-int8.pt",
            calibrated=True,
        ),
        "cpu-fused": Kind(device="cpu", dtype="bfloat16", file="model.cpu-fused.pt"),
        "cpu-bf16": Kind(device="cpu", dtype="bfloat16"),
        "cuda-fp16": Kind(device="cuda", dtype="float16"),
        "cuda-bf16": Kind(device="cuda", dtype="bfloat16"),
        PORTABLE: Kind(device="any", dtype="float32", tolerance=TOLERANCE),
    }
)
"""What there is, in the order in which it is preferred where nothing was measured."""

ALONE: Final[tuple[RecipeName, ...]] = (PORTABLE,)
"""What an archive has that lists no recipes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One form of an archive's net.

    Attributes:
        name: Which.
        file: Where in the archive its TorchScript is.
        device: Where it runs.
        dtype: Of its input.
        tolerance: Largest admissible difference from the eager net's logits, relative to the largest of them.
        max_abs_error: The difference that was measured when it was built; None: not where it was built.
    """

    name: RecipeName
    file: str
    device: str
    dtype: str
    tolerance: float
    max_abs_error: float | None

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            InputError: The message names the parameter, its value and the rule.
        """
        (name,) = known_names([self.name])
        for what, found, right in (
            ("device", self.device, KINDS[name].device),
            ("dtype", self.dtype, KINDS[name].dtype),
        ):
            if found != right:
                raise InputError(f"recipes: {what} of {name} is {found!r}, must be {right!r}")
        if not 0 < self.tolerance < 1:
            raise InputError(f"recipes: tolerance of {name} is {self.tolerance}, must be between 0 and 1")
        if self.max_abs_error is not None and not 0 <= self.max_abs_error <= self.tolerance:
            raise InputError(
                f"recipes: max_abs_error of {name} is {self.max_abs_error:.3g}, must be from 0 to its "
                f"tolerance {self.tolerance:g}"
            )

    @classmethod
    def of(cls, name: RecipeName, max_abs_error: float | None) -> Self:
        """A recipe as its kind has it."""
        kind = KINDS[name]
        return cls(
            name=name,
            file=kind.file,
            device=kind.device,
            dtype=kind.dtype,
            tolerance=kind.tolerance,
            max_abs_error=max_abs_error,
        )


def require_recipes(recipes: Sequence[Recipe]) -> None:
    """Refuse a list that ends with another recipe than `portable`, or has one twice; none at all is right.

    Raises:
        InputError: The message shows the list and states the rule.
    """
    if recipes:
        require_order([recipe.name for recipe in recipes])


def require_order(names: Sequence[str]) -> None:
    """Refuse names with one of them twice, or that do not end with `portable`.

    Raises:
        InputError: The message shows the names and states the rule.
    """
    if len(set(names)) != len(names):
        raise InputError(f"recipes: {', '.join(names)} must be distinct")
    if not names or names[-1] != PORTABLE:
        raise InputError(f"recipes: {', '.join(names)} must end with {PORTABLE}, which runs everywhere")


def known_names(names: Iterable[str]) -> tuple[RecipeName, ...]:
    """The same names, of which it is now known that each is one of the table.

    Raises:
        InputError: One is not.
    """
    known: dict[str, RecipeName] = {name: name for name in get_args(RecipeName)}
    found = []
    for name in names:
        if name not in known:
            raise InputError(f"recipes: {name!r} must be one of {', '.join(KINDS)}")
        found.append(known[name])
    return tuple(found)


def cuda_dtype(names: Iterable[RecipeName]) -> Dtype | None:
    """The precision of the first recipe for CUDA; None: there is none."""
    return next((KINDS[name].dtype for name in names if KINDS[name].device == "cuda"), None)
