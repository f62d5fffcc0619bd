"""What is learned of the time of a batch, and the size that is worth waiting for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.growth import Growth, line

SIZES = (1, 2, 4, 8, 16)


def learned(batch_s: float, image_s: float, *, slack: float = 0.02, way_s: float = 0.0) -> Growth:
    """After some batches of every size up to 16."""
    growth = Growth(16, slack)
    growth.add_way(way_s)
    for size in SIZES * 8:
        growth.add(size, batch_s + image_s * size)
    return growth


@pytest.mark.parametrize(
    ("batch_s", "image_s", "target"), [(0.005, 0.027, 8), (0.004, 0.0004, 16), (0.0, 0.01, 1), (0.1, 0.0, 16)]
)
def test_the_target_is_the_smallest_size_that_carries_nearly_the_most(
    batch_s: float, image_s: float, target: int
) -> None:
    """By hand: 8 / (5 + 27 * 8) is 1.2 % below 16 / (5 + 27 * 16), and 4 / (5 + 27 * 4) is 3.3 % below."""
    assert learned(batch_s, image_s).target == target


def test_the_way_counts_as_part_of_every_batch() -> None:
    """What a batch costs besides the worker's time makes small ones dear."""
    assert learned(0.0, 0.01, way_s=0.0).target == 1
    assert learned(0.0, 0.01, way_s=0.02).target == 16
    assert learned(0.0, 0.01, way_s=0.02).way_s == 0.02


def test_while_one_size_is_known_it_says_nothing_of_others() -> None:
    """The target is the largest allowed, and nothing is foreseen but that size."""
    growth = Growth(16, 0.02)
    assert (growth.target, growth.work_s(1), growth.most_within(9.0), growth.whole_s(4)) == (
        16,
        None,
        None,
        0.0,
    )
    growth.add(1, 0.03)
    assert (growth.target, growth.work_s(1), growth.work_s(2)) == (16, 0.03, None)


def test_sizes_that_never_came_are_foreseen_by_the_line() -> None:
    """Two sizes make a line; a target that was never seen is tried as soon as that many wait."""
    growth = Growth(16, 0.02)
    for _ in range(8):
        growth.add(1, 0.0044)
        growth.add(2, 0.0048)
    assert growth.work_s(16) == pytest.approx(0.004 + 0.0004 * 16)
    assert growth.target == 16


def test_a_size_that_was_measured_is_believed_more_than_the_line() -> None:
    """Batches that fall out of the cache: sixteen take four times as long as eight."""
    growth = Growth(16, 0.02)
    for _ in range(16):
        for size, seconds in ((1, 0.011), (2, 0.012), (4, 0.014), (8, 0.018), (16, 0.072)):
            growth.add(size, seconds)
    assert growth.target == 8


def test_stalls_and_cold_starts_do_not_count() -> None:
    """Now and then a batch takes a second; the median does not move."""
    growth = Growth(16, 0.02)
    for number in range(100):
        for size in SIZES:
            growth.add(size, 1.0 if number % 5 == 0 else 0.005 + 0.027 * size)
    assert growth.work_s(4) == pytest.approx(0.113)
    assert growth.target == 8


def test_a_size_of_which_none_come_is_forgotten() -> None:
    """It looked dear in a worse minute; after 512 batches of other sizes the line speaks for it again."""
    growth = Growth(16, 0.02)
    for size, seconds in ((16, 0.5), (1, 0.0044), (2, 0.0048), (4, 0.0056)) * 4:
        growth.add(size, seconds)
    assert growth.work_s(16) == 0.5
    for _ in range(180):
        for size, seconds in ((1, 0.0044), (2, 0.0048), (4, 0.0056)):
            growth.add(size, seconds)
    assert growth.work_s(16) == pytest.approx(0.0104)
    assert growth.target == 16


def test_a_machine_that_becomes_slower_does_so_for_all_sizes() -> None:
    """A few batches of one size tell of the others, or these would look quick by comparison."""
    growth = learned(0.004, 0.0004)
    for _ in range(6):
        growth.add(16, 4 * 0.0104)
    assert growth.work_s(1) == pytest.approx(4 * 0.0044)
    assert growth.target == 16


@given(
    st.dictionaries(st.integers(1, 64), st.floats(1e-4, 10.0), min_size=2, max_size=8),
    st.integers(1, 9),
)
def test_the_line_is_that_of_numpy_where_it_is_one(seconds: dict[int, float], weight: int) -> None:
    """`numpy.polyfit` with the square roots of the weights; otherwise neither part is below 0."""
    found = line(seconds, dict.fromkeys(seconds, weight))
    assert found is not None
    sizes, times = np.array(list(seconds)), np.array(list(seconds.values()))
    slope, start = np.polyfit(sizes, times, 1, w=np.sqrt(weight) / times)
    if slope > 1e-9 and start > 1e-9:
        np.testing.assert_allclose((found.batch_s, found.image_s), (start, slope), rtol=1e-3, atol=1e-6)
    assert found.batch_s >= 0
    assert found.image_s >= 0


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10.0)), max_size=60),
    st.floats(0, 1),
    st.floats(-1, 10),
)
def test_whatever_is_learned_is_allowed(
    most: int, batches: list[tuple[int, float]], slack: float, seconds: float
) -> None:
    """The target is 1..max_batch, and nothing takes less than no time."""
    growth = Growth(most, slack)
    for images, took in batches:
        growth.add(min(images, most), took)
        growth.add_way(took / 2)
        assert 1 <= growth.target <= most
    assert (growth.work_s(most) or 0.0) >= 0
    within = growth.most_within(seconds)
    assert within is None or 0 <= within <= most


@given(st.floats(1e-4, 0.1), st.floats(1e-4, 0.1), st.floats(0, 2))
def test_what_is_said_to_be_in_time_is(batch_s: float, image_s: float, seconds: float) -> None:
    """The most images within some seconds take no longer, and one more would, with a quarter to spare."""
    growth = learned(batch_s, image_s)
    most = growth.most_within(seconds)
    assert most is not None
    if most:
        assert 1.25 * (batch_s + image_s * most) <= seconds * (1 + 1e-6)
    if most < 16:
        assert 1.25 * (batch_s + image_s * (most + 1)) >= seconds * (1 - 1e-6)
