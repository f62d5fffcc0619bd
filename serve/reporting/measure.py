"""How a row's figures are written, by their unit and by what they are."""

from __future__ import annotations

from dataclasses import dataclass

from serve.reporting.figures import NONE, count, decimal
from serve.reporting.node import Node

_COMPARING = frozenset({"difference", "ratio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A unit as it is written.

    Attributes:
        scale: By which a value is multiplied.
        unit: Written after it; "" for nothing.
        signed: Whether a gain has its plus.
        whole: Whether values are counts.
        digits: After the point; None for as many as tell.
    """

    scale: float = 1.0
    unit: str = ""
    signed: bool = False
    whole: bool = False
    digits: int | None = None

    def one(self, value: float | None) -> str:
        """A value with its unit."""
        return NONE if value is None else self._with_unit(self._bare(value))

    def span(self, low: float | None, high: float | None) -> str:
        """An interval with its unit; an end that is not known is missing."""
        if low is None and high is None:
            return NONE
        if low is None:
            return f"at most {self.one(high)}"
        if high is None:
            return f"at least {self.one(low)}"
        return self._with_unit(f"{self._bare(low)} to {self._bare(high)}")

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text

    def _bare(self, value: float) -> str:
        scaled = self.scale * value
        if self.whole:
            return count(scaled)
        if self.digits is not None:
            return f"{scaled:{'+' if self.signed else ''}.{self.digits}f}".replace("-", "−")
        return decimal(scaled, signed=self.signed)


def measure(row: Node) -> Measure:
    """That of a report's row."""
    unit, kind = row.text("unit"), row.text("kind")
    signed = kind in _COMPARING
    if unit == "share":
        return Measure(scale=100, unit="points" if kind == "difference" else "%", signed=signed, digits=2)
    if unit == "ratio":
        return Measure(scale=100, unit="%", signed=True, digits=1)
    if unit == "score":
        return Measure(signed=signed, digits=4)
    if unit in {"calls", "units", "images"}:
        return Measure(whole=True)
    return Measure(unit=unit, signed=signed)
