"""Which form of the net is served: the archive prefers, the machine permits, the operator may ask for one.

Decisions only: what the machine has is asked in attn_machine, what loading a recipe means is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PORTABLE: Final = "portable"
AUTO: Final = "auto"
ANY_DEVICE: Final = "any"
RECIPE_VARIABLE: Final = "ATTNSERVE_RECIPE"
CONFIG_KEY: Final = "recipe"  # in the `handler:` block of model-config.yaml

# What a recipe may need of a machine, in words that a reason can use.
CPU_BFLOAT16: Final = "avx512_bf16 or amx"
FUSED_CONVOLUTIONS: Final = "oneDNN's fused convolutions"
CPU_BYTES: Final = "avx512_vnni or amx"
BYTE_CONVOLUTIONS: Final = "oneDNN's convolutions of bytes"
CUDA_BFLOAT16: Final = "bfloat16 (compute capability 8.0)"

REQUIREMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "cpu-int8": (CPU_BYTES, BYTE_CONVOLUTIONS),
    "cpu-fused": (CPU_BFLOAT16, FUSED_CONVOLUTIONS),
    "cpu-bf16": (CPU_BFLOAT16,),
    "cuda-fp16": (),
    "cuda-bf16": (CUDA_BFLOAT16,),
    PORTABLE: (),
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetRecipe:
    """One form of the archive's net.

    Attributes:
        name: `portable`, `cpu-fused`, ...: a key of REQUIREMENTS, or one that this handler does not know.
        file: The TorchScript file in the archive.
        device: `cpu`, `cuda` or `any`.
        dtype: `float32`, `float16` or `bfloat16`, of the input, and of weights that are not bytes.
        tolerance: Largest error, relative to the largest logit, that parity.npz may show; None: only the
            classes must agree.
    """

    name: str
    file: str
    device: str
    dtype: str
    tolerance: float | None

    def fits(self, device: str) -> bool:
        """Whether it is meant for a kind of device: `cpu` or `cuda`."""
        return self.device in (ANY_DEVICE, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the net is to run: `cpu` or `cuda`, and which of the things that recipes need it has."""

    device: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A recipe that was asked for by name, and where."""

    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[_T]):
    """What is served.

    Attributes:
        recipe: The one that was taken.
        served: What loading it gave.
        reasons: One sentence for each recipe that was passed over, and for a wish that could not be granted.
    """

    recipe: NetRecipe
    served: _T
    reasons: tuple[str, ...]


def implied_recipes(file: str, cuda_dtype: str, tolerance: float) -> tuple[NetRecipe, ...]:
    """The recipes of an archive that lists none: float32, and on a GPU the precision of `dtype.cuda`.

    Args:
        file: The TorchScript file of all.
        cuda_dtype: `float32`, `float16` or `bfloat16`.
        tolerance: Of float32; half precision is held to the classes.

    Raises:
        ValueError: `cuda_dtype` is unknown.
    """
    names = {"float32": None, "float16": "cuda-fp16", "bfloat16": "cuda-bf16"}
    if cuda_dtype not in names:
        raise ValueError(f"dtype.cuda: must be one of {', '.join(names)}, got {cuda_dtype!r}")
    name = names[cuda_dtype]
    portable = NetRecipe(name=PORTABLE, file=file, device=ANY_DEVICE, dtype="float32", tolerance=tolerance)
    if name is None:
        return (portable,)
    return NetRecipe(name=name, file=file, device="cuda", dtype=cuda_dtype, tolerance=None), portable


def wish_of(config: Mapping[str, object], environ: Mapping[str, str]) -> Wish | None:
    """What was asked for: by ATTNSERVE_RECIPE where it is set, else by model-config.yaml.

    Args:
        config: The archive's model-config.yaml, of which `handler: {recipe: NAME}` counts.
        environ: The worker's environment.

    Returns:
        None where nothing was, or `auto`.

    Raises:
        ValueError: The configuration's value is no text.
    """
    block = config.get("handler")
    in_config = block.get(CONFIG_KEY) if isinstance(block, Mapping) else None
    if in_config is not None and not isinstance(in_config, str):
        raise ValueError(f"handler.{CONFIG_KEY}: must be a recipe's name or {AUTO}, got {in_config!r}")
    in_environ = environ.get(RECIPE_VARIABLE, "").strip()
    name = in_environ or in_config or AUTO
    source = RECIPE_VARIABLE if in_environ else f"handler.{CONFIG_KEY} in model-config.yaml"
    return None if name == AUTO else Wish(name=name, source=source)


def lack(recipe: NetRecipe, machine: Machine) -> str | None:
    """Why a machine cannot run a recipe; None: nothing speaks against it."""
    if recipe.name not in REQUIREMENTS:
        return f"this handler knows no such recipe, only {', '.join(REQUIREMENTS)}"
    if not recipe.fits(machine.device):
        return f"it is for {recipe.device}, and this worker runs on {machine.device}"
    missing = [need for need in REQUIREMENTS[recipe.name] if need not in machine.features]
    return f"torch finds no {' and no '.join(missing)} here" if missing else None


def choose(
    recipes: Sequence[NetRecipe],
    machine: Machine,
    wish: Wish | None,
    attempt: Callable[[NetRecipe], _T],
) -> Choice[_T]:
    """Take the first recipe that can be served here.

    Args:
        recipes: By preference; the last is portable.
        machine: Where to run.
        wish: The recipe to try before all others, if there is one of that name.
        attempt: Loads and checks one, and raises when it cannot be served.

    Raises:
        Exception: What `attempt` raised for the last one, portable, after which there is nothing to try.
    """
    fitting = [recipe for recipe in recipes if recipe.fits(machine.device)]
    wished = next((recipe for recipe in recipes if wish and recipe.name == wish.name), None)
    reasons = _of_missing(wish, recipes) if wish and not wished else []
    for recipe in _in_order(fitting, wished):
        why = lack(recipe, machine)
        if why is None:
            try:
                served = attempt(recipe)
            except Exception as error:
                if recipe.name == PORTABLE:
                    raise
                why = str(error).strip().partition("\n")[0] or type(error).__name__
            else:
                passed = _passed_for(recipe, fitting, wish) if wish and recipe is wished else reasons
                return Choice(recipe=recipe, served=served, reasons=tuple(passed))
        reasons.append(f"{recipe.name}: {why}{_asked_for(wish) if wish and recipe is wished else ''}")
    raise ValueError(f"recipes: the last must be {PORTABLE}, for any device")


def _in_order(fitting: Sequence[NetRecipe], wished: NetRecipe | None) -> list[NetRecipe]:
    """The wished one first, also where it is for another device, so that its reason is told."""
    if wished is None:
        return list(fitting)
    if wished.name == PORTABLE:
        return [wished]
    return [wished, *(recipe for recipe in fitting if recipe is not wished)]


def _asked_for(wish: Wish) -> str:
    return f" ({wish.source} asks for it)"


def _of_missing(wish: Wish, recipes: Sequence[NetRecipe]) -> list[str]:
    names = ", ".join(recipe.name for recipe in recipes)
    return [f"{wish.name}: this archive has no such recipe, only {names}{_asked_for(wish)}"]


def _passed_for(granted: NetRecipe, fitting: Sequence[NetRecipe], wish: Wish) -> list[str]:
    """Why the recipes that the archive prefers are not taken when a wish is granted."""
    before = fitting[: fitting.index(granted)]
    return [f"{recipe.name}: {wish.source} asks for {granted.name}" for recipe in before]
