"""How a load goes over time: rates of arrivals, or numbers of users, in straight lines.

Written as text, a shape is its segments by comma, each SECONDS@FROM or SECONDS@FROM:TO: "10@50,20@50:200" is
50 for ten seconds, and then a ramp to 200.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_SEGMENT: Final = re.compile(rf"(?P<seconds>{_NUMBER})@(?P<first>{_NUMBER})(?::(?P<last>{_NUMBER}))?")


class ShapeError(ValueError):
    """A text is no shape; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A straight line from `first` to `last` (requests a second, or users) that takes `seconds`, above 0."""

    seconds: float
    first: float
    last: float

    @property
    def total(self) -> float:
        """The area below it: how many requests arrive on average."""
        return self.seconds * (self.first + self.last) / 2

    def level(self, seconds: float) -> float:
        """The height so many seconds after its begin."""
        return self.first + (self.last - self.first) * seconds / self.seconds

    def reached(self, area: float) -> float:
        """Seconds after its begin at which so much of the area is behind, at most `total`.

        first t + (last - first) t^2 / (2 seconds) = area, solved for t in the form that loses no digits.
        """
        slope = (self.last - self.first) / self.seconds
        root = math.sqrt(max(0.0, self.first**2 + 2 * slope * area))
        return min(self.seconds, 2 * area / (self.first + root)) if area else 0.0

    def __str__(self) -> str:
        line = _text(self.first) if self.first == self.last else f"{_text(self.first)}:{_text(self.last)}"
        return f"{_text(self.seconds)}@{line}"


@dataclass(frozen=True, slots=True)
class Shape:
    """Segments, one after the other; at least one."""

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read a shape.

        Raises:
            ShapeError: It is none, or nothing ever arrives.
        """
        shape = cls(tuple(_segment(part.strip()) for part in text.split(",")))
        if not shape.total:
            raise ShapeError(f"shape {text!r}: nothing ever arrives, every level is 0")
        return shape

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def total(self) -> float:
        """How many requests arrive on average."""
        return sum(segment.total for segment in self.segments)

    @property
    def highest(self) -> float:
        """The highest level."""
        return max(max(segment.first, segment.last) for segment in self.segments)

    @property
    def begins(self) -> tuple[float, ...]:
        """When each segment begins, in seconds."""
        return tuple(accumulate((segment.seconds for segment in self.segments[:-1]), initial=0.0))

    def level(self, seconds: float) -> float:
        """The level so many seconds after the begin; 0 before it and after the end."""
        for begin, segment in zip(self.begins, self.segments, strict=True):
            if begin <= seconds < begin + segment.seconds:
                return segment.level(seconds - begin)
        return 0.0

    def reached(self, area: float) -> float | None:
        """Seconds after the begin at which so many requests have arrived on average; None: never."""
        if area > self.total:
            return None
        for begin, segment in zip(self.begins, self.segments, strict=True):
            if area <= segment.total:
                return begin + segment.reached(area)
            area -= segment.total
        return self.seconds  # where rounding has left a little over

    def scaled(self, factor: float) -> Shape:
        """The same shape, so many times as high."""
        return Shape(
            tuple(
                Segment(seconds=one.seconds, first=factor * one.first, last=factor * one.last)
                for one in self.segments
            )
        )

    def __str__(self) -> str:
        return ",".join(map(str, self.segments))


def _segment(text: str) -> Segment:
    found = _SEGMENT.fullmatch(text)
    if not found:
        raise ShapeError(f"shape: {text!r} is no segment; one is SECONDS@LEVEL or SECONDS@FROM:TO")
    seconds, first = float(found["seconds"]), float(found["first"])
    if not seconds:
        raise ShapeError(f"shape: {text!r} takes no time; SECONDS must be above 0")
    segment = Segment(seconds=seconds, first=first, last=float(found["last"] or first))
    if not math.isfinite(segment.total):
        raise ShapeError(f"shape: {text!r} is too large a number")
    return segment


def _text(number: float) -> str:
    """The shortest text that is read as the same number."""
    return repr(float(number)).removesuffix(".0")
