"""The archive's own samples: what the eager net answered at build time, held against what it answers here."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from .attn_archive import ArchiveError
from .attn_wire import Floats

SAMPLES: Final = "parity.npz"


def read_samples(folder: Path) -> tuple[Floats, Floats]:
    """Inputs float32 [N,3,H,W] and the logits [N,K] that belong to them.

    Raises:
        ArchiveError: The file cannot be read.
    """
    try:
        with np.load(folder / SAMPLES, allow_pickle=False) as file:
            return file["input"].astype(np.float32), file["logits"].astype(np.float32)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ArchiveError(f"{SAMPLES}: cannot be read: {error}") from error


def compare(found: Floats, expected: Floats, tolerance: float | None) -> None:
    """Hold logits [N,K] to the expected ones.

    Args:
        found: What the net says here.
        expected: What it said when the archive was built.
        tolerance: Largest error, relative to the largest expected logit; None: only the classes must agree.

    Raises:
        ArchiveError: They disagree; the message gives the figure.
    """
    if found.shape != expected.shape:
        raise ArchiveError(f"{SAMPLES}: logits have the shape {expected.shape}, the net gives {found.shape}")
    if tolerance is None:
        _compare_classes(found, expected)
        return
    largest = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    error = float(np.abs(found - expected).max() / largest)
    if not error <= tolerance:
        raise ArchiveError(
            f"{SAMPLES}: on this machine the net's logits differ by {error:.3g} of the largest; "
            f"at most {tolerance:.3g} (parity.tolerance) are allowed"
        )


def _compare_classes(found: Floats, expected: Floats) -> None:
    differing = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if differing:
        raise ArchiveError(
            f"{SAMPLES}: on this machine, in half precision, {differing} of {len(expected)} samples "
            "get another class"
        )
