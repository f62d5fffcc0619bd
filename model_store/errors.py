"""Everything that the foundry refuses, one class per reaction a caller may choose.

BuildError
|-- InputError        what was asked for or handed in is wrong: change it and try again
|-- ArchiveError      an archive on disk is not what it says it is: build or fetch it again
|-- CalibrationError  a net cannot be quantised: too few images, or other classes than before
|-- FuseError         a net has no fused form: it keeps the portable one
|-- ParityError       the TorchScript form does not compute what the eager net computes
`-- TrainingError     a trained net stayed below the accuracy that it must reach
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BuildError(Exception):
    """Any expected failure of the foundry; its text is fit for a user's eyes."""


class InputError(BuildError):
    """The caller's fault: a name, file or option that breaks a rule, which the text states."""


class ArchiveError(BuildError):
    """A damaged or foreign archive; the text names the file or the entry."""


class ParityError(BuildError):
    """TorchScript and eager logits differ by more than the tolerance; the text gives both figures."""


class CalibrationError(BuildError):
    """A net that cannot be quantised with these images; the text gives the number and the rule."""


class FuseError(BuildError):
    """A net that cannot be fused; the text says what in it stands in the way."""


class TrainingError(BuildError):
    """Training ended below the required accuracy; the text gives both figures."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return what a message offers instead of an unknown name: up to three like it, else the first three.

    Args:
        name: The unknown one.
        known: Those that there are.
        cutoff: How like, from 0 to 1, as difflib measures it.
    """
    names = list(known)
    return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=cutoff) or names[:3])
