"""How long the arms' calls took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from serve.reporting.canvas import LINE, QUIET, canvas, colour, dashes, grid, inline, thinned
from serve.reporting.node import short

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """`share` of the calls took up to `ms` milliseconds; the band reaches from `low` to `high`."""

    ms: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Of one arm.

    Attributes:
        index: Of the arm; the control's is 0.
        curve: By `ms`.
        quantiles: (share, milliseconds): the marks on the curve.
    """

    index: int
    arm: str
    curve: Sequence[CurvePoint]
    quantiles: Sequence[tuple[float, float]]


def draw_latency(arms: Sequence[Distribution]) -> Markup:
    """The cumulative distribution of each arm, on a logarithmic axis, with its band and quantiles."""
    with canvas(3.5) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        _guides(axes, sorted({share for arm in arms for share, _ in arm.quantiles}))
        for arm in arms:
            _curve(axes, arm)
        axes.set_ylim(0, 1.03)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_xlabel("latency of a call (ms, logarithmic)")
        axes.set_ylabel("calls that took no longer")
        grid(axes, "both")
        figure.legend(loc="outside upper left", ncols=2, handlelength=3)
        return inline(
            figure, name="latency", title="Latency of the arms' calls", description=_description(arms)
        )


def _curve(axes: Axes, arm: Distribution) -> None:
    shade, curve = colour(arm.index), thinned(arm.curve)
    times = [point.ms for point in curve]
    lows, highs = [point.low for point in curve], [point.high for point in curve]
    axes.fill_between(times, lows, highs, color=shade, alpha=0.14, linewidth=0)
    marker = _MARKERS[arm.index % len(_MARKERS)]
    axes.plot(
        *(times, [point.share for point in curve]),
        color=shade,
        linewidth=1.8,
        linestyle=dashes(arm.index),
        label=_label(arm),
    )
    for share, at in arm.quantiles:
        axes.plot(
            *(at, share), marker=marker, markersize=6.5, color=shade, markeredgecolor="white", clip_on=False
        )


def _label(arm: Distribution) -> str:
    marks = ", ".join(f"p{100 * share:g} {at:,.1f}" for share, at in sorted(arm.quantiles))
    return f"{short(arm.arm, 30)} ({marks} ms)" if marks else short(arm.arm, 30)


def _guides(axes: Axes, shares: Sequence[float]) -> None:
    for share in shares:
        axes.axhline(share, color=LINE, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.annotate(
            f"p{100 * share:g}",
            (1, share),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color=QUIET,
            va="center",
        )


def _description(arms: Sequence[Distribution]) -> str:
    said = [
        f"{arm.arm}: " + ", ".join(f"p{100 * share:g} {at:.1f} ms" for share, at in sorted(arm.quantiles))
        for arm in arms
    ]
    return "Cumulative distributions, one line an arm. " + "; ".join(said) + "."
