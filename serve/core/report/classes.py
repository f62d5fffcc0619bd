"""Class by class: where an arm gains and loses, and what it says instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serve.core.report.rows import ClassRow, ConfusionChange
from serve.core.report.study import Study, Sums
from serve.core.statistics.discovery import e_bh
from serve.core.statistics.intervals import p_value
from serve.core.statistics.paired import mcnemar_log_e

_FALSE_DISCOVERIES = 0.1
_LEAST_DECIDED = 20
_MOST_LABELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Labelled images of one arm, all the cells that are not 0.

    Attributes:
        true: Class of each cell.
        said: What the arm called it.
        images: How many.
        size: Classes.
    """

    true: NDArray[np.int64]
    said: NDArray[np.int64]
    images: NDArray[np.float64]
    size: int

    @property
    def of_class(self) -> NDArray[np.float64]:
        """Images of each true class."""
        return self._by_class(np.ones_like(self.true, dtype=bool))

    @property
    def right(self) -> NDArray[np.float64]:
        """Of these, those that were called so."""
        return self._by_class(self.true == self.said)

    def _by_class(self, cells: NDArray[np.bool_]) -> NDArray[np.float64]:
        found = np.zeros(self.size)
        np.add.at(found, self.true[cells], self.images[cells])
        return found


def confusions(study: Study) -> tuple[Confusion, ...]:
    """Of each arm, over all phases."""
    return tuple(_confusion(arm, len(study.experiment.labels)) for arm in study.arms)


def class_rows(study: Study, tables: Sequence[Confusion]) -> tuple[ClassRow, ...]:
    """Each class with labelled images and each compared arm, in the order of the labels.

    Classes with fewer than 20 decided pairs have no e-value. That choice is the same under either arm's
    victory, so it does no harm to the others.
    """
    rows = [one for arm in study.compared for one in _rows(study, arm, tables)]
    tested = [place for place, one in enumerate(rows) if one.log_e is not None]
    found = e_bh([one.log_e for one in rows if one.log_e is not None], _FALSE_DISCOVERIES)
    for place in found:
        rows[tested[place]] = replace(rows[tested[place]], found=True)
    return tuple(rows)


def confusion_change(study: Study, arm: int, tables: Sequence[Confusion]) -> ConfusionChange:
    """How the arm's answers moved, for the classes that changed most."""
    control, other = tables[0], tables[arm]
    ours, theirs = other.of_class, control.of_class
    both = (ours > 0) & (theirs > 0)
    scale = np.divide(ours, theirs, out=np.zeros_like(ours), where=both)
    size = control.size
    change = np.zeros((size, size))
    kept = both[other.true]
    np.add.at(change, (other.true[kept], other.said[kept]), other.images[kept])
    np.add.at(change, (control.true, control.said), -control.images * scale[control.true])
    moved = np.abs(change).sum(axis=0) + np.abs(change).sum(axis=1)
    chosen = np.sort(np.argsort(-moved, kind="stable")[:_MOST_LABELS])
    return ConfusionChange(
        arm=study.names[arm],
        labels=tuple(study.label(int(index)) for index in chosen),
        change=tuple(tuple(line) for line in change[np.ix_(chosen, chosen)].tolist()),
    )


def _confusion(arm: Sums, size: int) -> Confusion:
    cells = [(int(true), int(said), images) for (true, said), images in arm.named("confusion")]
    true, said, images = zip(*cells, strict=True) if cells else ((), (), ())
    return Confusion(
        true=np.array(true, dtype=np.int64),
        said=np.array(said, dtype=np.int64),
        images=np.array(images, dtype=np.float64),
        size=max(size, 1 + max((*true, *said), default=-1)),
    )


def _rows(study: Study, arm: int, tables: Sequence[Confusion]) -> Iterator[ClassRow]:
    control, other, alone = tables[0], tables[arm], _alone(study.arms[arm])
    control_n, arm_n = control.of_class, other.of_class
    seen = np.flatnonzero(control_n + arm_n).tolist()
    control_hits, arm_hits = control.right, other.right
    for index in sorted({*seen, *(label for label, _ in alone)}):
        both = index < control.size and control_n[index] and arm_n[index]
        change = arm_hits[index] / arm_n[index] - control_hits[index] / control_n[index] if both else None
        row = ClassRow(
            label=study.label(index),
            arm=study.names[arm],
            estimate=None if change is None else float(change),
            control_n=int(control_n[index]) if seen else None,
            arm_n=int(arm_n[index]) if seen else None,
            control_right=alone[index, "control_right"],
            arm_right=alone[index, "arm_right"],
            log_e=None,
            p=None,
            found=False,
        )
        yield _tested(row)


def _tested(row: ClassRow) -> ClassRow:
    if row.control_right + row.arm_right < _LEAST_DECIDED:
        return row
    log_e = mcnemar_log_e(row.control_right, row.arm_right)
    return replace(row, log_e=log_e, p=p_value(log_e))


def _alone(arm: Sums) -> Counter[tuple[int, str]]:
    """First pairs by true class and by who alone was right."""
    found: Counter[tuple[int, str]] = Counter()
    for (label, name), count in arm.named("class"):
        found[int(label), name] = count
    return found
