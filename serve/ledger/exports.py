"""Single predictions for people: raw pairs, the images on which arms disagree, and these images.

Rows are read page by page in the order of their time, each page in a transaction of its own: an export of any
length holds up nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select, true, tuple_

from serve.core.accounting import Call, Known, answer_of
from serve.core.errors import NotFoundError
from serve.core.experiment import Experiment
from serve.core.record import SCALE, DisagreementRow, PairRow
from serve.core.settling import differing
from serve.ledger.bulk import CHUNK, among, rows_of
from serve.ledger.database import Database
from serve.ledger.schema import image, prediction
from serve.ledger.settling import known_of, newest

_IMAGES = among(image.c.prediction, image.c.prediction, image.c.item)

_Place = tuple[float, str]  # time and prediction: the order of the exports
_PLACE = (prediction.c.at, prediction.c.prediction)
_BEFORE_ALL: _Place = (-1.0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which calls bring their prediction into an export, as the database says it and as we do."""

    rows: ColumnElement[bool]
    holds: Callable[[Call], bool]


_ALL = _Wanted(rows=true(), holds=lambda _: True)
_DIFFERING = _Wanted(rows=prediction.c.differs, holds=lambda call: call.differs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Some predictions, with all that is known of them.

    Attributes:
        places: Where they were found. One with calls of several times is found at each of them.
        images: Prediction and item of those that are kept.
    """

    version: Experiment
    places: tuple[_Place, ...]
    known: Mapping[str, Known]
    images: frozenset[tuple[str, int]]

    def own(self, wanted: _Wanted) -> Iterator[tuple[str, Known]]:
        """The predictions of which this is the first place."""
        for at, name in self.places:
            known = self.known[name]
            if at == min(call.record.at for call in known.calls.values() if wanted.holds(call)):
                yield name, known


class Exports:
    """Reads what single requests met."""

    def __init__(self, database: Database) -> None:
        """Read from that database."""
        self._database = database

    def pairs(self, experiment_id: int) -> Iterator[PairRow]:
        """Every image that any arm answered, by time.

        Args:
            experiment_id: Of an experiment that is there.

        Raises:
            LedgerError: The store does not answer; also in the midst of the rows.
        """
        for page in self._pages(experiment_id, _ALL):
            for name, known in page.own(_ALL):
                for item in range(max(len(call.record.answers) for call in known.calls.values())):
                    if any(answer_of(call, item) for call in known.calls.values()):
                        yield _pair(page.version, name, known, item)

    def disagreements(
        self,
        experiment_id: int,
        unlabelled_only: bool,  # noqa: FBT001  passed on by name or position as a callable's argument
    ) -> Iterator[DisagreementRow]:
        """Every image that an arm answered otherwise than the control, by time.

        Args:
            experiment_id: Of an experiment that is there.
            unlabelled_only: Leave out those whose label is known.

        Raises:
            LedgerError: The store does not answer; also in the midst of the rows.
        """
        for page in self._pages(experiment_id, _DIFFERING):
            for name, known in page.own(_DIFFERING):
                for item in sorted(differing(known)):
                    if item in known.labels and unlabelled_only:
                        continue
                    pair = _pair(page.version, name, known, item)
                    values = {field: getattr(pair, field) for field in PairRow.__slots__}
                    yield DisagreementRow(**values, image_kept=(name, item) in page.images)

    def image(self, experiment_id: int, name: str, item: int) -> bytes:
        """An image that was kept.

        Args:
            experiment_id: Of its experiment.
            name: Its prediction.
            item: Which image of the request, from 0.

        Raises:
            NotFoundError: It is not kept, or not any more.
            LedgerError: The store does not answer.
        """
        ours = (image.c.experiment_id == experiment_id, image.c.prediction == name, image.c.item == item)
        with self._database.reading() as connection:
            content: bytes | None = connection.execute(select(image.c.content).where(*ours)).scalar()
        if content is None:
            raise NotFoundError(f"image {item} of the prediction {name!r} is not kept")
        return content

    def _pages(self, experiment_id: int, wanted: _Wanted) -> Iterator[_Page]:
        last = _BEFORE_ALL
        while True:
            with self._database.reading() as connection:
                page = _page(connection, experiment_id, wanted, last)
            if not page.places:
                return
            yield page
            last = page.places[-1]


def _page(connection: Connection, experiment_id: int, wanted: _Wanted, after: _Place) -> _Page:
    rest = (prediction.c.experiment_id == experiment_id, wanted.rows, tuple_(*_PLACE) > tuple_(*after))
    query = select(*_PLACE).where(*rest).distinct().order_by(*_PLACE).limit(CHUNK)
    places = tuple((row.at, row.prediction) for row in connection.execute(query))
    names = {name for _, name in places}
    images = rows_of(connection, _IMAGES, experiment_id, names)
    return _Page(
        version=newest(connection, experiment_id),
        places=places,
        known=known_of(connection, experiment_id, names),
        images=frozenset((row.prediction, row.item) for row in images),
    )


def _pair(version: Experiment, name: str, known: Known, item: int) -> PairRow:
    calls = [known.calls.get(arm) for arm in range(len(version.design.arms))]
    said = [answer_of(call, item) if call else None for call in calls]
    one = known.calls[min(known.calls)].record
    label = known.labels.get(item)
    return PairRow(
        prediction=name,
        item=item,
        unit=one.unit,
        phase=one.phase,
        at=one.at,
        label=version.labels[label.label] if label else "",
        said=tuple(version.labels[one.top1] if one else "" for one in said),
        confidence=tuple(one.confidence / SCALE if one else math.nan for one in said),
        latency_us=tuple(call.record.latency_us if call else 0 for call in calls),
    )
