"""The sums from which every figure of a report is computed: exact, mergeable, one set an arm and phase.

What units did is kept in one `UnitTally` a unit and arm. Whenever one changes, the sums over all units
change by `products(new)` minus `products(old)`: sums of the tallies' fields and of products of two of them,
from which variances between units follow. All are whole numbers, so that their order does not matter. (In
the ledger they are kept in double precision, which holds whole numbers exactly up to 2**53.)

In shadow and paired mode a call of the control counts once another arm was called for the same request: so
both are compared over the same requests, whatever the sample and whatever could not be mirrored.

Names of the sums::

    calls.units                 units of which `calls` is above 0; so for the first field of each family
    failures.units              units of which any call failed
    calls                       sum of a field over all units
    calls*failures              sum of the product of two fields of one family over all units
    first:pairs                 plain counts over the units' first pairs, see `FIRST` and `ALIKE`
    class:7:arm_right           of these, by true class
    confusion:3:7               labelled images of class 3 that the arm called 7
    slow:200                    calls that took longer than 200 ms
    multi_exposed               units of a split that met a second arm in one phase; stands with the control
    conflict                    images whose label somebody contradicted; with the arm that was served
    unmatched                   calls of which only a feedback token has told so far
    dropped:record, dropped:mirror
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations_with_replacement
from operator import attrgetter


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTally:
    """What one unit did with one arm in one phase. The pair fields stand with the arm, never the control.

    Attributes:
        calls: Calls of the arm.
        failures: Of these, those that count as an error of the arm.
        labelled: Images answered whose label is known.
        right: Of these, those that were answered rightly.
        brier: Sum over these of (confidence - right)^2, in 1/SCALE: the Brier score of the top label.
        pairs: Images that both the control and the arm answered.
        differ: Of these, those answered differently.
        differ_labelled: Of these, those whose label is known.
        signed: Sum over these of (arm right) - (control right).
        scored: Pairs whose label is known.
        brier_change: Sum over these of the arm's Brier term minus the control's, in 1/SCALE.
    """

    calls: int = 0
    failures: int = 0
    labelled: int = 0
    right: int = 0
    brier: int = 0
    pairs: int = 0
    differ: int = 0
    differ_labelled: int = 0
    signed: int = 0
    scored: int = 0
    brier_change: int = 0

    def plus(self, other: UnitTally) -> UnitTally:
        """Both together."""
        return UnitTally(**{name: getattr(self, name) + getattr(other, name) for name in FIELDS})


FIELDS = tuple(field.name for field in fields(UnitTally))

# Fields whose products are needed together; the first one says whether a unit takes part.
FAMILIES: tuple[tuple[str, ...], ...] = (
    ("calls", "failures"),
    ("labelled", "right"),
    ("labelled", "brier"),
    ("pairs", "differ", "differ_labelled", "signed"),
    ("scored", "brier_change"),
)

# Plain counts over the first pair of each unit; what `serve.core.statistics.paired.PairCounts` holds.
FIRST = ("pairs", "differ", "labelled", "control_right", "arm_right")

# Of the same pairs, those answered alike whose label is known: "first:both_right" and "first:both_wrong".
ALIKE = ("both_right", "both_wrong")


def products(tally: UnitTally) -> dict[str, int]:
    """The contribution of one unit to every sum; those that are 0 are left out."""
    return {name: value for name, value in zip(_NAMES, _values(tally), strict=True) if value}


def change(old: UnitTally, new: UnitTally) -> dict[str, int]:
    """What the sums change by when one unit's tally becomes another."""
    both = zip(_NAMES, _values(old), _values(new), strict=True)
    return {name: after - before for name, before, after in both if after != before}


# Fields of which the units are counted that have any: the first of each family, and failures.
_HEADS = (*dict.fromkeys(family[0] for family in FAMILIES), "failures")
_PAIRS = tuple(
    dict.fromkeys(pair for family in FAMILIES for pair in combinations_with_replacement(family, 2))
)
_NAMES = (*FIELDS, *(f"{head}.units" for head in _HEADS), *(f"{one}*{other}" for one, other in _PAIRS))
# The same by the fields' places: each record and outcome that is settled comes by here.
_OF = attrgetter(*FIELDS)
_HEAD_PLACES = tuple(map(FIELDS.index, _HEADS))
_PAIR_PLACES = tuple((FIELDS.index(one), FIELDS.index(other)) for one, other in _PAIRS)


def _values(tally: UnitTally) -> list[int]:
    """The contribution to each of `_NAMES`."""
    values: tuple[int, ...] = _OF(tally)
    seen = [int(values[head] > 0) for head in _HEAD_PLACES]
    return [*values, *seen, *[values[one] * values[other] for one, other in _PAIR_PLACES]]


def brier_term(confidence: int, scale: int, *, right: bool) -> int:
    """The Brier term of one answer: (confidence - right)^2, in 1/scale, rounded.

    Args:
        confidence: Probability of the top label, in 1/scale.
        scale: The whole.
        right: Whether the top label is the true one.
    """
    off = confidence - scale * right
    return (off * off + scale // 2) // scale
