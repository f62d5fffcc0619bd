"""Two arms on the same images: accuracy, disagreement, and who was right where they disagree."""

from __future__ import annotations

from dataclasses import replace

from serve.core.definitions import CLUSTERED_PAIRS, EXACT_MCNEMAR, RATE
from serve.core.report.figures import Asymptotic, Figure, asymptotic, lacking_events, lacking_units
from serve.core.report.rows import PairTable
from serve.core.report.study import Study
from serve.core.statistics.intervals import rate_interval, wilson
from serve.core.statistics.paired import clustered_difference, difference, mcnemar_log_e

_DISAGREEMENTS = "labelled disagreements"


def accuracy_change(study: Study, arm: int) -> Figure:
    """Accuracy of the arm minus that of the control, by the pairs that the design asks for.

    The exact test needs no minimum of data: where it has decided, none is lacking.
    """
    if study.design.pairs == "all":
        return _by_unit(study, arm)
    counts = study.arms[arm].first_pairs
    decided = counts.control_right + counts.arm_right
    lacking = lacking_units(counts.pairs, "pairs") or lacking_events(decided, _DISAGREEMENTS)
    how = Asymptotic(
        alpha=study.alpha,
        planned_n=study.planned(1),
        n_of="pairs",
        method=EXACT_MCNEMAR,
        lacking=lacking,
    )
    figure = replace(
        asymptotic(difference(counts), how), log_e=mcnemar_log_e(counts.control_right, counts.arm_right)
    )
    if figure.proven:
        return replace(figure, lacking="", note=lacking)
    return _bounded(figure, disagreement(study, arm), study.design.margin) if lacking else figure


def _bounded(figure: Figure, differ: Figure, margin: float) -> Figure:
    """Where arms hardly ever disagree no labels are needed: accuracies differ by no more than that."""
    most = differ.interval.high
    if differ.lacking or most >= margin:
        return figure
    note = f"{figure.lacking}; but the arms disagree on at most {100 * most:.2f} % of the images"
    bounds = replace(figure.interval, low=-most, high=most)
    return replace(figure, interval=bounds, lacking="", note=note)


def disagreement(study: Study, arm: int) -> Figure:
    """The share of first pairs that were answered differently."""
    counts = study.arms[arm].first_pairs
    return Figure(
        interval=rate_interval(counts.differ, counts.pairs, study.alpha),
        fixed=wilson(counts.differ, counts.pairs, study.alpha),
        alpha=study.alpha,
        n=counts.pairs,
        n_of="pairs",
        method=RATE,
        lacking=lacking_units(counts.pairs, "pairs"),
    )


def pair_table(study: Study, arm: int) -> PairTable:
    """The first pairs by who was right."""
    sums = study.arms[arm]
    counts = sums.first_pairs
    right, wrong = sums.count("first:both_right"), sums.count("first:both_wrong")
    return PairTable(
        arm=study.names[arm],
        both_right=right,
        control_right=counts.control_right,
        arm_right=counts.arm_right,
        both_wrong=wrong + counts.labelled - counts.control_right - counts.arm_right,
        unlabelled_alike=counts.pairs - counts.differ - right - wrong,
        unlabelled_different=counts.differ - counts.labelled,
    )


def _by_unit(study: Study, arm: int) -> Figure:
    sums = study.arms[arm].all_pairs
    lacking = lacking_units(int(sums.units), "units with a pair")
    how = Asymptotic(
        alpha=study.alpha,
        planned_n=study.planned(1),
        n_of="units",
        method=CLUSTERED_PAIRS,
        lacking=lacking or lacking_events(sums.labelled, _DISAGREEMENTS),
    )
    return asymptotic(clustered_difference(sums), how)
