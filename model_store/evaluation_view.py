"""An evaluation as a page: the figures first, then the classes, the confusions and the calibration."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.markup import escape

from model_store.evaluation import Evaluation, Speed
from model_store.metrics import BINS, Share
from model_store.show import plain_table, show_confusion, show_pairs, show_table

SHOWN_CLASSES: Final = 30
SHOWN_NAMES: Final = 10


def show_evaluation(out: Console, found: Evaluation) -> None:
    """Print the page."""
    show_pairs(out, _measured(found), f"{found.model} version {found.version}")
    show_pairs(out, _figures(found), "figures")
    show_pairs(out, _speed(found.speed), "speed")
    if found.failures:
        reasons = {one.path: one.reason for one in found.failures[:SHOWN_NAMES]}
        show_pairs(out, reasons, f"without answer: {_first(len(found.failures))}")
    _show_classes(out, found)
    if found.confusion is not None:
        show_confusion(out, list(found.per_class), found.confusion)
    if found.confusions:
        _show_confusions(out, found)
    _show_bins(out, found)


def _measured(found: Evaluation) -> dict[str, str]:
    lines = {
        "archive": found.archive,
        "contents_sha256": found.contents_sha256,
        "data": found.data,
        "images": f"{found.images:,} with an answer, {len(found.failures):,} without",
        "decoded by": f"{found.decoder}, the archive's handler version {found.handler}",
    }
    if found.absent:
        lines["labels without image"] = _named(found.absent)
    if found.ignored:
        lines["not read"] = f"no image in a class folder: {_named(found.ignored)}"
    return lines


def _figures(found: Evaluation) -> dict[str, str]:
    shares = {"top-1": found.top1, "top-5": found.top5}
    lines = {name: _long(share) for name, share in shares.items() if share is not None}
    return lines | {
        "expected calibration error": f"{found.calibration.ece:.4f} ({BINS} bins of equal width)",
        "Brier score": f"{found.calibration.brier:.4f} (0 best, 2 worst)",
        "negative log-likelihood": f"{found.calibration.nll:.4f} nats an image",
    }


def _speed(speed: Speed) -> dict[str, str]:
    return {
        "images a second": f"{speed.images_per_second:,.1f}",
        "a batch": f"decoding {speed.decode_ms:.2f} ms, inference {speed.inference_ms:.2f} ms (medians)",
        "with": f"recipe {speed.recipe}, batches of {speed.batch}, {speed.device}, "
        f"CPU threads {speed.threads}, torch {speed.torch}",
    }


def _show_classes(out: Console, found: Evaluation) -> None:
    """Every class, or the worst ones of many."""
    present = [(label, share) for label, share in found.per_class.items() if share is not None]
    title = "class"
    if len(present) > SHOWN_CLASSES:
        present = sorted(present, key=lambda item: (item[1].value, item[0]))[:SHOWN_CLASSES]
        title = f"class, the worst {SHOWN_CLASSES}"
    table = plain_table(out, title, "images", "right", "accuracy", "95 % interval", right=(1, 2, 3))
    for label, share in present:
        table.add_row(escape(label), f"{share.images:,}", f"{share.right:,}", *_short(share))
    show_table(out, table)


def _show_confusions(out: Console, found: Evaluation) -> None:
    table = plain_table(out, "most frequent mistakes: true", "given", "images", right=(2,))
    for one in found.confusions:
        table.add_row(escape(one.label), escape(one.given), f"{one.images:,}")
    show_table(out, table)


def _show_bins(out: Console, found: Evaluation) -> None:
    """The reliability diagram as a table; bins without images are left out."""
    head = ("confidence", "images", "mean confidence", "accuracy", "accuracy - confidence")
    table = plain_table(out, *head, right=(1, 2, 3, 4))
    for one in found.calibration.bins:
        if one.confidence is None or one.accuracy is None:
            continue
        figures = (f"{one.confidence:.4f}", f"{one.accuracy:.4f}", f"{one.accuracy - one.confidence:+.4f}")
        table.add_row(f"{one.lower:.3f} to {one.upper:.3f}", f"{one.images:,}", *figures)
    show_table(out, table)


def _long(share: Share) -> str:
    value, interval = _short(share)
    return f"{value} ({share.right:,} of {share.images:,}; 95 % interval {interval})"


def _short(share: Share) -> tuple[str, str]:
    lower, upper = share.interval_95
    return f"{share.value:.2%}", f"{lower:.2%} to {upper:.2%}"


def _named(names: tuple[str, ...]) -> str:
    more = f", and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
    return f"{', '.join(names[:SHOWN_NAMES])}{more}"


def _first(count: int) -> str:
    return f"{count:,}" if count <= SHOWN_NAMES else f"{count:,}, the first {SHOWN_NAMES}"
