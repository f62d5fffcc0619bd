"""How a report's figures are written, and what its words are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from loadtests.report.document import PERCENTILES, Comparison, Figure, Report
from loadtests.report.figures import percentile_name
from serve.reporting.figures import NONE, setting
from serve.reporting.measure import Measure
from serve.reporting.node import clean
from serve.reporting.words import Badge

PERCENTILE_NAMES: Final = tuple(map(percentile_name, PERCENTILES))
# Group of rows -> its heading; in this order.
GROUPS: Final = {
    "all": "All requests",
    "way": "By protocol",
    "model": "By model",
    "arm": "By arm of the experiment",
    "kind": "By what was asked",
}
VERDICTS: Final[Mapping[str, Badge]] = {
    "worse": Badge(text="worse", tone="bad", sign="▼", meaning="Beyond the tolerance, for the worse."),
    "better": Badge(text="better", tone="good", sign="▲", meaning="Beyond the tolerance, for the better."),
    "same": Badge(text="same", tone="even", sign="=", meaning="Any difference lies within the tolerance."),
    "unclear": Badge(text="unclear", tone="open", sign="?", meaning="The interval allows for both."),
}
_MEASURES: Final = {
    "1/s": Measure(unit="a second"),
    "ms": Measure(unit="ms"),
    "share": Measure(scale=100, unit="%", digits=2),
}
_SMALLEST = 0.0005
_MINUTE, _HOUR = 60.0, 3_600.0


def figure_of(figures: Iterable[Figure], name: str) -> Figure | None:
    """The figure of that name; None where there is none."""
    return next((found for found in figures if found.name == name), None)


def value_of(figures: Iterable[Figure], name: str) -> float:
    """Its value; nan where there is none."""
    found = figure_of(figures, name)
    return math.nan if found is None or found.value is None else found.value


def one(found: Figure | None) -> str:
    """A figure with its unit."""
    return NONE if found is None else measure(found.unit).one(found.value)


def span(found: Figure | None) -> str:
    """Its interval with its unit; "" where none can be given."""
    if found is None or found.low is None or found.high is None:
        return ""
    return measure(found.unit).span(found.low, found.high)


def bare(found: Figure | None) -> str:
    """A figure without its unit, for a table whose head has it; a share in percent."""
    return NONE if found is None else three(_scaled(found, found.value))


def ends(found: Figure | None) -> str:
    """Its interval, likewise; "" where none can be given."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{three(_scaled(found, found.low))}–{three(_scaled(found, found.high))}"


def three(value: float | None) -> str:
    """A number with three telling digits."""
    if value is None:
        return NONE
    rounded = float(f"{value:.3g}") if abs(value) >= _SMALLEST else 0.0
    digits = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{value:,.{min(max(0, digits), 3)}f}"


def ratio(value: float) -> str:
    """A ratio, with digits enough for one next to 1."""
    return f"{value:,.3f}"


def off(ratio: float) -> str:
    """By how much that is more or less than 1, in percent."""
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")


def measure(unit: str) -> Measure:
    """How values of a unit are written."""
    return _MEASURES.get(unit, Measure(unit=unit))


def load(value: float | None, loop: str) -> str:
    """A load in the unit of its loop: requests a second, or users."""
    return NONE if value is None else f"{setting(round(value, 1))} {load_unit(loop)}"


def load_unit(loop: str) -> str:
    """In which a loop's load is counted."""
    return "a second" if loop == "open" else "users"


def lasting(seconds: float) -> str:
    """A stretch of time, to three digits."""
    for size, name in ((_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def verdict(comparison: Comparison) -> Badge:
    """How a comparison came out."""
    return VERDICTS.get(comparison.verdict, VERDICTS["unclear"])


def tolerances(comparisons: Sequence[Comparison]) -> str:
    """By how much the compared figures may differ, in percent."""
    return " or ".join(
        f"{setting(round(100 * share, 3))} %" for share in sorted({c.tolerance for c in comparisons})
    )


def _scaled(found: Figure, value: float | None) -> float | None:
    return None if value is None else value * measure(found.unit).scale


def cleaned(report: Report) -> Report:
    """The report with texts that any page can show, as `serve.reporting.node.clean` makes them."""
    found: Report = _cleaned(report)
    return found


def _cleaned(value: Any) -> Any:  # noqa: ANN401  any part of a report
    if isinstance(value, str):
        return "\n".join(map(clean, value.split("\n")))
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_cleaned(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: _cleaned(getattr(value, part.name)) for part in fields(value)})
    return value
