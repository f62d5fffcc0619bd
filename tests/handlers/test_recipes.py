"""Which form of the net is served: the table of choices, without any hardware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.attn_recipes import (
    CPU_BFLOAT16,
    CUDA_BFLOAT16,
    FUSED_CONVOLUTIONS,
    REQUIREMENTS,
    Machine,
    NetRecipe,
    Wish,
    choose,
    implied_recipes,
    lack,
    wish_of,
)


def recipe(name: str) -> NetRecipe:
    """A recipe of that name; the part before the dash is its device."""
    device = "any" if name == "portable" else name.partition("-")[0]
    return NetRecipe(name=name, file="model.pt", device=device, dtype="float32", tolerance=0.05)


PORTABLE = recipe("portable")
ALL = tuple(recipe(name) for name in ("cpu-fused", "cpu-bf16", "cuda-fp16", "cuda-bf16", "portable"))
NAMED = ", ".join(one.name for one in ALL)
FULL_CPU = Machine(device="cpu", features=frozenset({CPU_BFLOAT16, FUSED_CONVOLUTIONS}))
PLAIN_CPU = Machine(device="cpu", features=frozenset())
OLD_GPU = Machine(device="cuda", features=frozenset())

NAMES = st.sampled_from([name for name in REQUIREMENTS if name != "portable"] + ["cpu-int4"])
LISTS = st.lists(NAMES, unique=True).map(lambda names: (*map(recipe, names), PORTABLE))
MACHINES = st.builds(
    Machine,
    device=st.sampled_from(["cpu", "cuda"]),
    features=st.frozensets(st.sampled_from([CPU_BFLOAT16, CUDA_BFLOAT16, FUSED_CONVOLUTIONS])),
)
WISHES = st.none() | st.builds(Wish, name=NAMES | st.sampled_from(["portable", "?"]), source=st.just("me"))


@given(recipes=LISTS, machine=MACHINES, wish=WISHES, broken=st.frozensets(NAMES))
def test_the_first_that_works_is_taken(
    recipes: tuple[NetRecipe, ...], machine: Machine, wish: Wish | None, broken: frozenset[str]
) -> None:
    """The wished one where it works, else the first by preference: an independent walk finds the same."""
    works = [r.name for r in recipes if lack(r, machine) is None and r.name not in broken]
    expected = wish.name if wish and wish.name in works else works[0]
    attempts: list[str] = []

    def attempt(one: NetRecipe) -> str:
        attempts.append(one.name)
        if one.name in broken:
            raise RuntimeError("broken")
        return one.name

    choice = choose(recipes, machine, wish, attempt)
    assert choice.recipe.name == choice.served == attempts[-1] == expected
    assert len(attempts) == len(set(attempts))


@given(recipes=LISTS, machine=MACHINES, wish=WISHES, broken=st.frozensets(NAMES))
def test_whatever_is_passed_over_has_one_reason(
    recipes: tuple[NetRecipe, ...], machine: Machine, wish: Wish | None, broken: frozenset[str]
) -> None:
    """Each recipe for this device that the archive prefers to the one served, and a wish not granted."""

    def attempt(one: NetRecipe) -> None:
        if one.name in broken:
            raise RuntimeError("broken")

    choice = choose(recipes, machine, wish, attempt)
    fitting = [one.name for one in recipes if one.fits(machine.device)]
    passed = set(fitting[: fitting.index(choice.recipe.name)])
    if wish and wish.name != choice.recipe.name:
        passed.add(wish.name)
    named = [reason.partition(":")[0] for reason in choice.reasons]
    assert sorted(named) == sorted(passed)
    assert not any("\n" in reason for reason in choice.reasons)


@pytest.mark.parametrize(
    ("machine", "wish", "served", "reasons"),
    [
        (FULL_CPU, None, "cpu-fused", []),
        (
            PLAIN_CPU,
            None,
            "portable",
            [
                "cpu-fused: torch finds no avx512_bf16 or amx and no oneDNN's fused convolutions here",
                "cpu-bf16: torch finds no avx512_bf16 or amx here",
            ],
        ),
        (OLD_GPU, None, "cuda-fp16", []),
        (
            OLD_GPU,
            "cuda-bf16",
            "cuda-fp16",
            ["cuda-bf16: torch finds no bfloat16 (compute capability 8.0) here (me asks for it)"],
        ),
        (FULL_CPU, "cpu-bf16", "cpu-bf16", ["cpu-fused: me asks for cpu-bf16"]),
        (
            FULL_CPU,
            "portable",
            "portable",
            ["cpu-fused: me asks for portable", "cpu-bf16: me asks for portable"],
        ),
        (
            FULL_CPU,
            "cuda-fp16",
            "cpu-fused",
            ["cuda-fp16: it is for cuda, and this worker runs on cpu (me asks for it)"],
        ),
        (
            FULL_CPU,
            "fast",
            "cpu-fused",
            [f"fast: this archive has no such recipe, only {NAMED} (me asks for it)"],
        ),
    ],
)
def test_the_reasons_can_be_read(machine: Machine, wish: str | None, served: str, reasons: list[str]) -> None:
    """What was lacking, and who asked."""
    asked = Wish(name=wish, source="me") if wish else None
    choice = choose(ALL, machine, asked, lambda one: one.name)
    assert (choice.served, list(choice.reasons)) == (served, reasons)


def test_a_recipe_that_fails_is_passed_over_with_its_first_line() -> None:
    """Loading, warming up and parity alike; the next one is tried."""

    def attempt(one: NetRecipe) -> str:
        if one.name == "cpu-fused":
            raise RuntimeError("its logits differ by 0.3\nTraceback")
        if one.name == "cpu-bf16":
            raise ValueError
        return one.name

    choice = choose(ALL, FULL_CPU, None, attempt)
    assert choice.served == "portable"
    assert choice.reasons == ("cpu-fused: its logits differ by 0.3", "cpu-bf16: ValueError")


@pytest.mark.parametrize("wish", [None, Wish(name="portable", source="me")])
def test_after_portable_there_is_nothing(wish: Wish | None) -> None:
    """Its own error is raised, as it is."""
    failure = RuntimeError("portable is broken")

    def attempt(one: NetRecipe) -> None:
        raise failure if one.name == "portable" else RuntimeError("broken")

    with pytest.raises(RuntimeError) as raised:
        choose(ALL, FULL_CPU, wish, attempt)
    assert raised.value is failure


def test_a_recipe_of_a_later_handler_is_passed_over() -> None:
    """An unknown name is no reason to refuse the archive."""
    choice = choose((recipe("cpu-int4"), PORTABLE), FULL_CPU, None, lambda one: one.name)
    assert choice.served == "portable"
    assert choice.reasons[0].startswith("cpu-int4: this handler knows no such recipe, only cpu-int8,")


@pytest.mark.parametrize(
    ("in_config", "in_environ", "name", "source"),
    [
        ("cpu-bf16", "", "cpu-bf16", "handler.recipe in model-config.yaml"),
        ("cpu-bf16", "portable", "portable", "ATTNSERVE_RECIPE"),
        (None, " cpu-fused ", "cpu-fused", "ATTNSERVE_RECIPE"),
    ],
)
def test_the_environment_is_heard_before_the_archive(
    in_config: str | None, in_environ: str, name: str, source: str
) -> None:
    """The operator of the worker decides."""
    config: dict[str, object] = {"handler": {"recipe": in_config}} if in_config else {}
    assert wish_of(config, {"ATTNSERVE_RECIPE": in_environ}) == Wish(name=name, source=source)


@pytest.mark.parametrize(
    ("config", "environ"),
    [
        ({}, {}),
        ({"handler": None}, {}),
        ({"handler": {"recipe": "auto"}}, {}),
        ({"handler": {"recipe": "portable"}}, {"ATTNSERVE_RECIPE": "auto"}),
    ],
)
def test_auto_is_no_wish(config: dict[str, object], environ: dict[str, str]) -> None:
    """Nothing is asked for, also where the environment takes back what the archive asks for."""
    assert wish_of(config, environ) is None


def test_a_wish_must_be_text() -> None:
    """The message names the key and the value."""
    with pytest.raises(ValueError, match=r"handler\.recipe: must be a recipe's name or auto, got 3"):
        wish_of({"handler": {"recipe": 3}}, {})


@pytest.mark.parametrize(
    ("dtype", "names"),
    [
        ("float32", ["portable"]),
        ("float16", ["cuda-fp16", "portable"]),
        ("bfloat16", ["cuda-bf16", "portable"]),
    ],
)
def test_an_archive_without_recipes_has_those_of_its_precision(dtype: str, names: list[str]) -> None:
    """`dtype.cuda` counts on a GPU only, and half precision is held to the classes."""
    implied = implied_recipes("model.pt", dtype, 1e-4)
    assert [one.name for one in implied] == names
    assert [one.tolerance for one in implied] == [None] * (len(names) - 1) + [1e-4]
    assert choose(implied, FULL_CPU, None, lambda one: one.name).reasons == ()
