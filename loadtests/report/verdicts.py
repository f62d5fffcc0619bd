"""What a ratio with its interval says, given by how much two figures may differ and still be the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from loadtests.report.document import Comparison
from loadtests.report.windows import Ends

WORSE: Final = "worse"
BETTER: Final = "better"
SAME: Final = "same"
UNCLEAR: Final = "unclear"
GOOD_REPLIES: Final = "good replies"  # 1 - failures: a ratio that exists where nothing failed
MORE_IS_BETTER: Final = frozenset({"throughput", GOOD_REPLIES})
GOOD_TOLERANCE: Final = 0.005  # a tenth more time is no matter where a tenth more failures would be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A figure that was taken twice.

    Attributes:
        figure: Its name.
        of: Of which requests.
        unit: Of both values.
        baseline: Above 0.
        now: Above 0.
        than: What the sentence calls the baseline: "the baseline", "arm a".
    """

    figure: str
    of: str
    unit: str
    baseline: float
    now: float
    than: str


def verdict(figure: str, low: float, high: float, tolerance: float) -> str:
    """Compare an interval of a ratio with the band from 1 - tolerance to 1 + tolerance.

    "worse" and "better" need all of the interval beyond the band and "same" all of it inside; what is left is
    "unclear", so that noise makes a run unclear and never worse.
    """
    if high < 1 - tolerance:
        return WORSE if figure in MORE_IS_BETTER else BETTER
    if low > 1 + tolerance:
        return BETTER if figure in MORE_IS_BETTER else WORSE
    return SAME if low >= 1 - tolerance and high <= 1 + tolerance else UNCLEAR


def compared(pair: Pair, interval: Ends, tolerance: float, *, doubt: str = "") -> Comparison:
    """Put a pair and the interval of its ratio into words.

    Args:
        pair: The two.
        interval: Of the ratio, as logarithms.
        tolerance: As in `verdict`.
        doubt: Why nothing can be concluded, whatever the interval says.
    """
    ends = math.exp(interval.low), math.exp(interval.high)
    found = UNCLEAR if doubt else verdict(pair.figure, *ends, tolerance)
    ratio = pair.now / pair.baseline
    digits = 4 if pair.figure == GOOD_REPLIES else 2
    numbers = f"{ratio:.{digits}f} times that of {pair.than} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"
    return Comparison(
        what=f"{pair.figure}, {pair.of}",
        baseline=pair.baseline,
        now=pair.now,
        unit=pair.unit,
        ratio=ratio,
        low=ends[0],
        high=ends[1],
        verdict=found,
        sentence=f"{pair.figure}, {pair.of}: {numbers}: {doubt or _MEANING[found].format(100 * tolerance)}",
        tolerance=tolerance,
        doubt=doubt,
    )


_MEANING: Final = {
    WORSE: "worse by more than {:.3g} %",
    BETTER: "better by more than {:.3g} %",
    SAME: "the same within {:.3g} %",
    UNCLEAR: "too uncertain to tell whether they differ by {:.3g} %",
}
