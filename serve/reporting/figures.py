"""How numbers and times are written: with their unit, with a true minus, and as "–" where there is none."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
_E_SHOWN = math.log(10_000)
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def utc(at: float | None) -> str:
    """A Unix time as date and time of day in UTC, to the minute."""
    if at is None:
        return NONE
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def count(value: float | None) -> str:
    """A whole number with separated thousands."""
    return NONE if value is None else _minus(f"{value:,.0f}")


def decimal(value: float | None, *, signed: bool = False) -> str:
    """A number with about three telling digits."""
    if value is None:
        return NONE
    size = abs(value)
    digits = 0 if size >= 100 else 2 if size >= 1 or not size else 3  # noqa: PLR2004
    return _minus(f"{value:{'+' if signed else ''},.{digits}f}")


def evidence(log_e: float | None) -> str:
    """An e-value, from its natural logarithm; a large or small one as a power of ten."""
    if log_e is None:
        return NONE
    if abs(log_e) < _E_SHOWN:
        return decimal(math.exp(log_e))
    power = math.floor(log_e / math.log(10))
    factor = f"{math.exp(log_e - power * math.log(10)):.1f}"
    if factor == "10.0":
        factor, power = "1.0", power + 1
    return f"{factor} × 10{str(power).translate(_RAISED)}"


def setting(value: float | None) -> str:
    """A number that somebody chose: as short as it was written."""
    return NONE if value is None else _minus(f"{round(value, 9):,.10g}")


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return NONE
    if value < 1e-4:  # noqa: PLR2004  as many digits as are shown
        return "< 0.0001"
    return f"{value:.4f}" if value < 1 else "1"


def images(value: float) -> str:
    """A change of a count, in whole images."""
    return _minus(f"{value:+,.0f}")


def begun(text: str) -> str:
    """The text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def _minus(text: str) -> str:
    return text.replace("-", "−")
