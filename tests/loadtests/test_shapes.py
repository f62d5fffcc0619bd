"""How a load goes over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from loadtests.shapes import Segment, Shape, ShapeError

TINY = 1e-9  # seconds, over which scipy's quadrature gives up, and nothing arrives

levels = st.floats(0, 1e4)
segments = st.builds(Segment, seconds=st.floats(1e-3, 1e4), first=levels, last=levels)
shapes = st.lists(segments, min_size=1, max_size=5).map(lambda found: Shape(tuple(found)))
arriving = shapes.filter(lambda shape: shape.total > 0)


@given(arriving)
def test_a_shape_is_read_as_it_was_written(shape: Shape) -> None:
    """To the last digit, so that processes that pass it on as text plan the same."""
    assert Shape.parse(str(shape)) == shape


def area_until(shape: Shape, at: float) -> float:
    """The integral of the level, as scipy has it; segment by segment, since the level jumps between them."""
    return sum(
        quad(segment.level, 0, min(at - begin, segment.seconds))[0]
        for begin, segment in zip(shape.begins, shape.segments, strict=True)
        if at - begin > TINY
    )


@given(shapes)
def test_the_total_is_the_area_below_the_level(shape: Shape) -> None:
    """All of it."""
    assert shape.total == pytest.approx(area_until(shape, shape.seconds), rel=1e-9, abs=1e-9)


@given(arriving, st.floats(0, 1))
def test_reached_is_the_inverse_of_the_area(shape: Shape, share: float) -> None:
    """Up to the time that it gives, just so many arrive on average."""
    at = shape.reached(share * shape.total)
    assert at is not None
    assert area_until(shape, at) == pytest.approx(share * shape.total, rel=1e-6, abs=1e-5)


@given(arriving, st.floats(0, 1), st.floats(0, 1))
def test_more_is_reached_later(shape: Shape, one: float, other: float) -> None:
    """Times are in the order of the arrivals."""
    times = [shape.reached(share * shape.total) for share in sorted((one, other))]
    assert times[0] is not None
    assert times[1] is not None
    assert times[0] <= times[1]


@given(arriving)
def test_what_never_arrives_is_never_reached(shape: Shape) -> None:
    """Beyond the whole area there is no time."""
    assert shape.reached(1.001 * shape.total + 1e-6) is None


@given(shapes, st.floats(0, 100))
def test_a_scaled_shape_has_so_many_times_the_area(shape: Shape, factor: float) -> None:
    """In the same time."""
    scaled = shape.scaled(factor)
    assert scaled.total == pytest.approx(factor * shape.total)
    assert scaled.seconds == shape.seconds


def test_the_level_follows_the_text() -> None:
    """A rest, a jump and a ramp; nothing before and after."""
    shape = Shape.parse("10@5,20@50:200")
    assert [shape.level(at) for at in (-1, 0, 9.9, 10, 20, 30)] == [0, 5, 5, 50, 125, 0]
    assert list(shape.begins) == [0, 10]
    assert (shape.seconds, shape.total, shape.highest) == (30, 2550, 200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no segment"),
        ("10", "'10' is no segment; one is SECONDS@LEVEL or SECONDS@FROM:TO"),
        ("10@5,", "'' is no segment"),
        ("10@-5", "'10@-5' is no segment"),
        ("10@nan", "'10@nan' is no segment"),
        ("0@5", "'0@5' takes no time"),
        ("10@0", "nothing ever arrives"),
        ("1e300@1e300", "'1e300@1e300' is too large"),
    ],
)
def test_what_is_no_shape_is_refused(text: str, message: str) -> None:
    """The message quotes the segment that is wrong."""
    with pytest.raises(ShapeError, match=message):
        Shape.parse(text)
