"""How workers are to serve an archive, as far as whoever builds it decides that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from model_store.errors import InputError
from model_store.recipe_table import (
    ALONE,
    KINDS,
    PORTABLE,
    Dtype,
    RecipeName,
    cuda_dtype,
    known_names,
    require_order,
)

CudaDtype: TypeAlias = Dtype
Recipes: TypeAlias = tuple[RecipeName, ...] | Literal["auto"]
Threads: TypeAlias = int | Literal["auto", "all"]
Decoder: TypeAlias = Literal["auto", "pillow", "simplejpeg", "nvimgcodec"]
CUDA_DTYPE: Final[CudaDtype] = "float32"
RESPONSE_TIMEOUT_S: Final = 15
# Below this many multiply-adds an image a forward pass takes a fraction of what the request around it does,
# and OpenMP's threads, which wait busily, cost more than they give.
SINGLE_THREAD_BELOW_MACS: Final = 50_000_000
# From here on a second thread pays whatever the machine, and one alone would take seconds to measure.
ALL_THREADS_FROM_MACS: Final = 200_000_000
_WORDS: Final[Mapping[str, Threads]] = {"auto": "auto", "all": "all"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """Choices that go into signature.json and model-config.yaml; what is None is left to the handler.

    "auto" is decided by a short measurement on the machine that builds, so that the same options may give
    other archives elsewhere.

    Attributes:
        cuda_dtype: What the net computes in on CUDA; None: what its description says, else what the recipes
            say, else CUDA_DTYPE.
        recipes: The forms in which the net can be run, the preferred one first and `portable` last.
        threads: CPU threads of the forward pass; None: what its description says, else one for a tiny net.
        spin: How often a waiting thread looks for work before it sleeps; None: as the OpenMP library does.
        max_image_bytes: Longest encoded image.
        max_image_pixels: Largest image, width times height.
        decoder: What reads JPEG files; workers that lack it take the next best one, and say so.
        response_timeout_s: How long TorchServe waits for one batch before it ends the worker as hung and
            starts another; must not exceed what callers wait, or they never learn of it.
    """

    cuda_dtype: CudaDtype | None = None
    recipes: Recipes = ALONE
    threads: Threads | None = None
    spin: int | None = None
    max_image_bytes: int | None = None
    max_image_pixels: int | None = None
    decoder: Decoder | None = None
    response_timeout_s: int = RESPONSE_TIMEOUT_S

    def __post_init__(self) -> None:
        """Refuse numbers that are too small, and recipes that contradict each other or `cuda_dtype`.

        Raises:
            InputError: The message names the option, its value and the rule.
        """
        for name in ("max_image_bytes", "max_image_pixels", "response_timeout_s"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: {value} must be at least 1")
        if isinstance(self.threads, int) and self.threads < 1:
            raise InputError(f"threads: {self.threads} must be at least 1")
        if self.spin is not None and self.spin < 0:
            raise InputError(f"spin: {self.spin} must be at least 0")
        if self.recipes != "auto":
            require_order(known_names(self.recipes))
            self._require_one_precision(self.recipes)

    def _require_one_precision(self, names: tuple[RecipeName, ...]) -> None:
        found = cuda_dtype(names)
        if self.cuda_dtype is not None and found is not None and self.cuda_dtype != found:
            raise InputError(
                f"cuda_dtype: {self.cuda_dtype} must be {found}, which the first recipe for CUDA computes in"
            )

    def recipe_names(self) -> tuple[RecipeName, ...]:
        """The recipes that are to be made, the preferred one first.

        With "auto" these are all that there are; a precision on CUDA that was named leaves out the others.
        """
        if self.recipes == ALONE:
            return ALONE
        names = tuple(KINDS) if self.recipes == "auto" else self.recipes
        if self.cuda_dtype is None or (self.recipes != "auto" and cuda_dtype(names)):
            return names
        on_cpu = [name for name in names if KINDS[name].device == "cpu"]
        on_cuda = [
            name for name, kind in KINDS.items() if (kind.device, kind.dtype) == ("cuda", self.cuda_dtype)
        ]
        return (*on_cpu, *on_cuda, PORTABLE)

    def precision_on_cuda(self, recipes: Iterable[RecipeName]) -> CudaDtype:
        """What a net with these recipes computes in on CUDA."""
        return cuda_dtype(recipes) or self.cuda_dtype or CUDA_DTYPE

    def settled(self, macs: int | None) -> ServingOptions:
        """The same for a net of so many multiply-adds an image, with all decided that needs no measurement.

        A tiny net stays as it is and gets one thread, as it computes for microseconds; one of unknown size is
        taken for large.
        """
        tiny = threads_for(macs) == 1
        large = macs is None or macs >= ALL_THREADS_FROM_MACS
        threads = self.threads
        if threads is None or (threads == "auto" and (tiny or large)):
            threads = 1 if tiny else "all"
        recipes = ALONE if tiny and self.recipes == "auto" else self.recipes
        return replace(self, recipes=recipes, threads=threads)

    def model_config(self) -> dict[str, Any]:
        """The keys of model-config.yaml that these options decide."""
        names = ("max_image_bytes", "max_image_pixels", "decoder")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {"responseTimeout": self.response_timeout_s, **({"handler": given} if given else {})}


DEFAULT_OPTIONS: Final = ServingOptions()


def threads_for(macs: int | None) -> int | None:
    """CPU threads for a net of so many multiply-adds an image; None: all cores (also when unknown)."""
    return 1 if macs is not None and macs < SINGLE_THREAD_BELOW_MACS else None


def read_recipes(text: str) -> Recipes:
    """Read "auto", or names with commas between them; `portable`, which is always there, may be left out.

    Raises:
        InputError: A name that there is not.
    """
    if text == "auto":
        return "auto"
    names = known_names(name.strip() for name in text.split(","))
    return names if PORTABLE in names else (*names, PORTABLE)


def read_threads(text: str | None) -> Threads | None:
    """Read "auto", "all" or a number; None where nothing is said.

    Raises:
        InputError: It is none of these.
    """
    if text is None:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if not text.isdecimal():
        raise InputError(f"threads: {text!r} must be auto, all or a number from 1")
    return int(text)


def read_spin(text: str) -> int | None:
    """Read "auto", which leaves it to the OpenMP library, or a number.

    Raises:
        InputError: It is neither.
    """
    if text != "auto" and not text.isdecimal():
        raise InputError(f"spin: {text!r} must be auto or a number from 0")
    return None if text == "auto" else int(text)
