"""Recipes as signature.json lists them: valid from birth, by the schema that all three houses share."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.attn_recipes import REQUIREMENTS
from model_store.errors import InputError
from model_store.options import ServingOptions, Threads, read_recipes, read_spin, read_threads, threads_for
from model_store.recipe_table import ALONE, KINDS, Dtype, Recipe, RecipeName
from serve.core.card import parse_card
from tests.model_store.building import SCHEMA
from tests.model_store.test_signature import SIGNATURE, schema_errors

FUSED = Recipe.of("cpu-fused", 0.004)
PORTABLE = Recipe.of("portable", 3e-7)
LISTED = replace(SIGNATURE, recipes=(FUSED, PORTABLE), spin=1000)


def test_a_list_of_recipes_follows_the_schema_and_the_gateway_reads_it() -> None:
    """With every name that there is; without recipes and spin the document lacks both keys, as ever."""
    every = tuple(Recipe.of(name, None) for name in KINDS)
    assert schema_errors(replace(LISTED, recipes=every, cuda_dtype="float16")) == []
    assert parse_card(LISTED.as_dict()).labels == SIGNATURE.labels
    assert {"recipes", "spin"} <= LISTED.as_dict().keys()
    assert not {"recipes", "spin"} & SIGNATURE.as_dict().keys()


def test_a_recipe_is_written_as_workers_read_it() -> None:
    """The keys and values of the format."""
    assert json.loads(LISTED.to_json())["recipes"] == [
        {
            "name": "cpu-fused",
            "file": "model.cpu-fused.pt",
            "device": "cpu",
            "dtype": "bfloat16",
            "tolerance": 0.05,
            "max_abs_error": 0.004,
        },
        {
            "name": "portable",
            "file": "model.pt",
            "device": "any",
            "dtype": "float32",
            "tolerance": 1e-4,
            "max_abs_error": 3e-7,
        },
    ]


def test_the_worker_knows_every_recipe() -> None:
    """What the foundry can list, and the type of its names, is what the handler has requirements for."""
    assert set(KINDS) == set(REQUIREMENTS) == set(get_args(RecipeName))


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown": (
        lambda: replace(FUSED, name="cpu-int4"),  # type: ignore[arg-type] # what is tested
        "recipes: 'cpu-int4' must be one of cpu-int8, cpu-fused,",
    ),
    "device": (lambda: replace(FUSED, device="cuda"), "device of cpu-fused is 'cuda', must be 'cpu'"),
    "dtype": (lambda: replace(FUSED, dtype="float16"), "dtype of cpu-fused is 'float16', must be 'bfloat16'"),
    "no tolerance": (lambda: replace(FUSED, tolerance=0.0), "tolerance of cpu-fused is 0.0, must be between"),
    "any tolerance": (lambda: replace(FUSED, tolerance=1.0), "must be between 0 and 1"),
    "too far": (lambda: replace(FUSED, max_abs_error=0.06), "is 0.06, must be from 0 to its tolerance 0.05"),
    "NaN": (lambda: replace(FUSED, max_abs_error=float("nan")), "is nan, must be from 0"),
    "no portable": (lambda: replace(SIGNATURE, recipes=(FUSED,)), "cpu-fused must end with portable"),
    "portable first": (
        lambda: replace(SIGNATURE, recipes=(PORTABLE, FUSED)),
        "portable, cpu-fused must end with portable",
    ),
    "twice": (lambda: replace(SIGNATURE, recipes=(FUSED, FUSED, PORTABLE)), "must be distinct"),
    "other precision": (
        lambda: replace(SIGNATURE, recipes=(Recipe.of("cuda-fp16", None), PORTABLE)),
        "dtype.cuda: 'float32' must be 'float16'",
    ),
    "spin": (lambda: replace(SIGNATURE, spin=-1), "spin: -1 must be at least 0"),
    "asked twice": (
        lambda: ServingOptions(recipes=("cpu-bf16", "cpu-bf16", "portable")),
        "recipes: cpu-bf16, cpu-bf16, portable must be distinct",
    ),
    "asked contradictorily": (
        lambda: ServingOptions(recipes=("cuda-fp16", "portable"), cuda_dtype="bfloat16"),
        "cuda_dtype: bfloat16 must be float16",
    ),
    "no thread": (lambda: ServingOptions(threads=0), "threads: 0 must be at least 1"),
    "asked to spin": (lambda: ServingOptions(spin=-2), "spin: -2 must be at least 0"),
    "text for recipes": (lambda: read_recipes("cpu-bf16,fast"), "recipes: 'fast' must be one of"),
    "text for threads": (lambda: read_threads("two"), "threads: 'two' must be auto, all or a number"),
    "text for spin": (lambda: read_spin("-1"), "spin: '-1' must be auto or a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_value_is_refused_with_its_rule(case: str) -> None:
    """The message names the parameter, shows the value and states the rule."""
    make, message = BAD[case]
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "admitted"),
    [
        ({}, True),
        ({"name": "cpu-int4"}, False),
        ({"tolerance": 1}, False),
        ({"tolerance": 0}, False),
        ({"file": "../model.pt"}, False),
        ({"max_abs_error": -1}, False),
        ({"max_abs_error": None}, True),
        ({"speed": 3}, False),
    ],
)
def test_the_schema_holds_each_value(change: dict[str, Any], admitted: bool) -> None:
    """What another writer of archives may get wrong."""
    document = LISTED.as_dict()
    document["recipes"][0] |= change
    assert SCHEMA.is_valid(json.loads(json.dumps(document))) == admitted


@given(st.permutations([*KINDS]).map(lambda names: names[: names.index("portable") + 1]))
def test_an_order_that_is_asked_for_is_kept(names: list[RecipeName]) -> None:
    """Whatever it is, with `portable` at its end whether it was written or not."""
    for text in (",".join(names), ", ".join(names[:-1]) or "portable"):
        assert ServingOptions(recipes=read_recipes(text)).recipe_names() == tuple(names)


@pytest.mark.parametrize(
    ("recipes", "cuda_dtype", "expected"),
    [
        ("portable", "float16", ALONE),
        ("auto", None, tuple(KINDS)),
        ("auto", "float32", ("cpu-int8", "cpu-fused", "cpu-bf16", "portable")),
        ("auto", "bfloat16", ("cpu-int8", "cpu-fused", "cpu-bf16", "cuda-bf16", "portable")),
        ("cpu-bf16", "float16", ("cpu-bf16", "cuda-fp16", "portable")),
        ("cpu-bf16", "float32", ("cpu-bf16", "portable")),
        ("cuda-fp16,cpu-bf16", "float16", ("cuda-fp16", "cpu-bf16", "portable")),
    ],
)
def test_a_precision_on_cuda_is_a_recipe(
    recipes: str, cuda_dtype: Dtype | None, expected: tuple[RecipeName, ...]
) -> None:
    """It takes the place of those of other precisions; beside `portable` alone it is none, as ever."""
    options = ServingOptions(recipes=read_recipes(recipes), cuda_dtype=cuda_dtype)
    assert options.recipe_names() == expected
    assert options.precision_on_cuda(expected) == (cuda_dtype or "float16")


@pytest.mark.parametrize(
    ("macs", "threads"), [(None, None), (0, 1), (49_999_999, 1), (50_000_000, None), (4_000_000_000, None)]
)
def test_tiny_nets_run_on_one_thread(macs: int | None, threads: int | None) -> None:
    """Below 50 million multiply-adds a second thread costs more than it gives; unknown counts as large."""
    assert threads_for(macs) == threads


@pytest.mark.parametrize(
    ("macs", "threads", "expected"),
    [
        (49_999_999, "auto", 1),
        (49_999_999, None, 1),
        (49_999_999, "all", "all"),
        (49_999_999, 3, 3),
        (50_000_000, "auto", "auto"),
        (50_000_000, None, "all"),
        (200_000_000, "auto", "all"),
        (None, "auto", "all"),
    ],
)
def test_only_what_is_open_is_measured(macs: int | None, threads: Threads | None, expected: Threads) -> None:
    """Tiny nets and large ones need no measurement of threads, and tiny ones none of recipes."""
    settled = ServingOptions(recipes="auto", threads=threads).settled(macs)
    assert settled.threads == expected
    assert settled.recipes == (ALONE if macs == 49_999_999 else "auto")
    asked = ServingOptions(recipes=("cpu-bf16", "portable"), threads=threads).settled(macs)
    assert asked.recipes == ("cpu-bf16", "portable")


def test_words_of_the_command_line_are_read() -> None:
    """The words, numbers, and nothing at all."""
    assert [read_threads(text) for text in ("auto", "all", "3", None)] == ["auto", "all", 3, None]
    assert [read_spin(text) for text in ("auto", "0", "500")] == [None, 0, 500]
    assert read_recipes("auto") == "auto"
    assert {read_recipes(text) for text in ("portable", " portable ")} == {ALONE}
