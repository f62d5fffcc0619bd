"""What follows from measured times; and that measuring measures what it says."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model_store.recipe_table import RecipeName
from model_store.tuning import BATCHES, Contender, Timing, decide, measure

Case = tuple[RecipeName, int | None, float]


def timings(cases: Sequence[Case]) -> list[Timing]:
    """Milliseconds for one image of a recipe with so many threads; eight take eight times as long."""
    return [
        Timing(name=name, threads=threads, batch=batch, seconds=ms * batch / 1e3)
        for name, threads, ms in cases
        for batch in BATCHES
    ]


def test_the_fastest_comes_first_and_portable_last() -> None:
    """In the order of the figures, not of the table; with how much each gains."""
    tuned = decide(timings([("cpu-fused", None, 30.0), ("cpu-bf16", None, 25.0), ("portable", None, 60.0)]))
    assert tuned.order == ("cpu-bf16", "cpu-fused", "portable")
    assert tuned.gains == pytest.approx({"cpu-fused": 2.0, "cpu-bf16": 2.4, "portable": 1.0})
    assert tuned.threads is None


@pytest.mark.parametrize(("ms", "listed"), [(95.0, True), (95.5, False), (120.0, False)])
def test_what_gains_less_than_a_twentieth_is_left_out(ms: float, listed: bool) -> None:
    """100 / 95 is above 1.05, 100 / 95.5 below."""
    tuned = decide(timings([("cpu-bf16", None, ms), ("portable", None, 100.0)]))
    assert ("cpu-bf16" in tuned.order) == listed


@pytest.mark.parametrize(("all_cores_ms", "threads"), [(90.0, None), (91.5, 1), (100.0, 1), (130.0, 1)])
def test_a_second_thread_must_give_a_tenth(all_cores_ms: float, threads: int | None) -> None:
    """Of the fastest form, whatever the others do; a tie goes to one thread."""
    tuned = decide(
        timings(
            [
                ("cpu-bf16", 1, 100.0),
                ("cpu-bf16", None, all_cores_ms),
                ("portable", 1, 900.0),
                ("portable", None, 150.0),
            ]
        )
    )
    assert tuned.threads == threads
    # The gain is that with the threads that were chosen.
    assert tuned.gains["cpu-bf16"] == pytest.approx(150 / all_cores_ms if threads is None else 9)


def test_both_batch_sizes_weigh_alike() -> None:
    """Twice as fast on one image and half as fast on eight is no gain."""
    cases: list[tuple[RecipeName, int, float]] = [
        ("cpu-bf16", 1, 1.0),
        ("cpu-bf16", 8, 20.0),
        ("portable", 1, 2.0),
        ("portable", 8, 10.0),
    ]
    found = [Timing(name=name, threads=2, batch=batch, seconds=seconds) for name, batch, seconds in cases]
    tuned = decide(found)
    assert tuned.gains["cpu-bf16"] == pytest.approx(1)
    assert (tuned.order, tuned.threads) == (("portable",), 2)


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=6, max_size=6),
    st.floats(1e-3, 1e3),
)
def test_the_unit_does_not_matter(ms: list[float], factor: float) -> None:
    """A machine that is so many times as slow decides the same, up to ties; and `portable` is always last."""
    names: list[RecipeName] = ["cpu-fused", "cpu-bf16", "portable"]
    cases: list[Case] = [
        (name, threads, ms[index * 2 + (threads or 0)])
        for index, name in enumerate(names)
        for threads in (1, None)
    ]
    tuned = decide(timings(cases))
    slower = decide(timings([(name, threads, value * factor) for name, threads, value in cases]))
    assert tuned.order[-1] == slower.order[-1] == "portable"
    assert all(tuned.gains[name] >= 1.05 for name in tuned.order[:-1])
    assert not any(tuned.gains[name] >= 1.05 for name in set(names) - set(tuned.order) - {"portable"})
    if tuned.threads == slower.threads:
        assert tuned.gains == pytest.approx(slower.gains, rel=1e-6)


class Counting(nn.Module):
    """Notes the sizes of its batches and the threads that it may use."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((len(x), torch.get_num_threads()))
        return x


def test_each_form_is_run_with_each_batch_and_number_of_threads() -> None:
    """At least three timed rounds each after the settling ones; threads are given back."""
    modules = {"cpu-bf16": Counting(), "portable": Counting()}
    inputs = {batch: torch.zeros(batch, 1) for batch in BATCHES}
    before = torch.get_num_threads()
    contenders = [
        Contender(name="cpu-bf16", module=modules["cpu-bf16"], inputs=inputs),
        Contender(name="portable", module=modules["portable"], inputs=inputs),
    ]
    found = measure(contenders, (1, 2))
    assert torch.get_num_threads() == before
    cases = {(one.name, one.threads, one.batch) for one in found}
    assert cases == {(name, threads, batch) for name in modules for threads in (1, 2) for batch in BATCHES}
    assert all(one.seconds > 0 for one in found)
    for module in modules.values():
        assert all(module.calls.count((batch, threads)) >= 4 for batch in BATCHES for threads in (1, 2))
