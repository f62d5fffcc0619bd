"""What a report speaks of: each metric's definition, and each method's name and why it was chosen.

Every row of a report carries both, so that it can be read without this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Better(StrEnum):
    """In which direction a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric.

    Attributes:
        name: Its key in a report.
        title: As people call it.
        definition: What is divided by what.
        unit: share (0 to 1), ms, calls/min, calls, units, images or score.
        better: In which direction it improves.
    """

    name: str
    title: str
    definition: str
    unit: str
    better: Better

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.better is Better.LOWER else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a figure's uncertainty was found.

    Attributes:
        name: As the field calls it.
        why: Why this one, and what it takes for granted.
        anytime: Whether it holds however often one looks.
    """

    name: str
    why: str
    anytime: bool = True


def _metric(name: str, title: str, unit: str, better: Better, definition: str) -> tuple[str, Metric]:
    return name, Metric(name=name, title=title, unit=unit, better=better, definition=definition)


_TIMED = (
    "from the call of the arm to its answer; in shadow and paired mode without the wait in the queue, where "
    "mirrored calls stand behind all others"
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    dict(
        (
            _metric(
                "accuracy",
                "Accuracy",
                "share",
                Better.HIGHER,
                "Images answered rightly, of the images that were answered and whose label is known.",
            ),
            _metric(
                "agreement",
                "Disagreement",
                "share",
                Better.LOWER,
                "First images of their units that the arm and the control answered differently, of those "
                "that both answered. Needs no labels; on these images accuracies differ by at most as much.",
            ),
            _metric(
                "brier",
                "Brier score",
                "score",
                Better.LOWER,
                "Mean of (confidence in the top label - whether it is right)^2 over labelled images.",
            ),
            _metric(
                "error_rate",
                "Error rate",
                "share",
                Better.LOWER,
                "Calls that failed by the arm's fault, of its calls: the first attempt counts, even where a "
                "retry or the control answered in its place. What the caller got wrong is no error.",
            ),
            _metric(
                "slo_exceedance",
                "Slow calls",
                "share",
                Better.LOWER,
                f"Calls that took longer than the threshold, of the arm's calls; {_TIMED}.",
            ),
            _metric(
                "latency_p50",
                "Median latency",
                "ms",
                Better.LOWER,
                f"Time that half of the answered calls stay within, {_TIMED}.",
            ),
            _metric(
                "latency_p90",
                "90th percentile of latency",
                "ms",
                Better.LOWER,
                f"Time that 90 % of the answered calls stay within, {_TIMED}.",
            ),
            _metric(
                "latency_p99",
                "99th percentile of latency",
                "ms",
                Better.LOWER,
                f"Time that 99 % of the answered calls stay within, {_TIMED}.",
            ),
            _metric(
                "throughput",
                "Calls a minute",
                "calls/min",
                Better.NEITHER,
                "The arm's calls by the minutes since the experiment's start; a load, not a capacity.",
            ),
            _metric(
                "calls",
                "Calls",
                "calls",
                Better.NEITHER,
                "Requests that the arm was asked to answer; in shadow and paired mode only those that the "
                "control is not the only one to have seen.",
            ),
            _metric(
                "units", "Units", "units", Better.NEITHER, "Units of which the arm was called, by phase."
            ),
            _metric(
                "labelled", "Labelled images", "images", Better.NEITHER, "Answered images with a known label."
            ),
        )
    )
)

QUANTILES: Mapping[str, float] = MappingProxyType(
    {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
)

UNIT_MEANS = Method(
    name="asymptotic confidence sequence over units",
    why="Images of one unit are alike, so units are the observations; each phase of weights is taken apart. "
    "Holds from about 100 units and 20 events an arm on, before which no interval is given. As units come "
    "back in later phases, standard errors of phases add up.",
)
EXACT_MCNEMAR = Method(
    name="exact McNemar e-test on first pairs; interval by the asymptotic confidence sequence",
    why="Both arms saw the same image, and one pair a unit makes the pairs independent: the test is exact at "
    "every sample size. The interval holds from about 100 pairs and 20 labelled disagreements on. Both take "
    "for granted that who is right has no say in which images get a label: where callers only report wrong "
    "answers, they report those of the control, and the arm looks better than it is.",
)
CLUSTERED_PAIRS = Method(
    name="asymptotic confidence sequence over units of paired differences",
    why="The design counts all pairs; those of one unit are alike, for which McNemar's test is not valid, so "
    "that units are the observations. Holds from about 100 units and 20 labelled disagreements on, if who is "
    "right has no say in which images get a label; where callers only report wrong answers, they report "
    "those of the control, and the arm looks better than it is.",
)
PAIRED_MEANS = Method(
    name="asymptotic confidence sequence over units of paired score differences",
    why="Both arms saw the same image, so that the difference is taken image by image; units are the "
    "observations. Holds from about 100 units on.",
)
RATE = Method(
    name="beta-mixture confidence sequence for a rate",
    why="One observation a unit, 0 or 1: exact at every sample size.",
)
CALL_RATE = Method(
    name="beta-mixture confidence sequence for a rate",
    why="Calls are 0 or 1; those of one unit count together as if they were all alike. Slow calls of several "
    "units that come in one burst make it too narrow.",
)
QUANTILE = Method(
    name="quantile e-process (Howard and Ramdas)",
    why="Makes no assumption on how latencies are distributed. Exact if every unit calls once and calls are "
    "independent; several calls of one unit count as if they were all alike, unless both arms saw them. "
    "Bursts that slow one arm's calls alone make it too sure.",
)
CONDITIONAL_BINOMIAL = Method(
    name="conditional binomial e-test on the ratio of rates",
    why="Given an event, whose it was is a coin with a known bias: valid for rare events and for a control "
    "without any. Phases are taken apart. Units count, not calls: one that fails again and again is one that "
    "failed; where units call often, the rates of their calls are compared as well, unit by unit.",
)
COUNT = Method(name="count", why="A plain figure; nothing is inferred from it.", anytime=False)
