"""The requests of a run in rows: all of them, and by way, model, arm and kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from loadtests.exchanges import Exchanges, Texts
from loadtests.report.document import Figure, Row
from loadtests.report.figures import durations, failures, percentile_figures, throughput
from loadtests.report.windows import Bootstrap

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of the requests; `group` and `name` as in `Row`."""

    group: str
    name: str
    exchanges: Exchanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Figures by both clocks, as in `Row`."""

    response: tuple[Figure, ...]
    service: tuple[Figure, ...]


def groups(exchanges: Exchanges) -> Iterator[Group]:
    """All, and the groups with a name, each in the order of the names.

    A request that no model answered belongs to the name that it asked for.
    """
    yield Group(group=ALL, name=ALL, exchanges=exchanges)
    model = np.where(exchanges.served != "", exchanges.served, exchanges.model)
    columns = (("way", exchanges.way), ("model", model), ("arm", exchanges.arm), ("kind", exchanges.kind))
    for group, column in columns:
        for name in _names(column):
            yield Group(group=group, name=name, exchanges=exchanges.where(np.asarray(column == name)))


def rows(found: Iterable[Group], bootstrap: Bootstrap) -> tuple[Row, ...]:
    """A row of each group, of which the first holds all requests."""
    made: list[Row] = []
    for group in found:
        whole = bool(made) and len(group.exchanges) == made[0].requests
        same = replace(made[0], group=group.group, name=group.name) if whole else None
        made.append(same or _row(group, bootstrap))
    return tuple(made)


def by_both_clocks(exchanges: Exchanges, bootstrap: Bootstrap, rate: Figure) -> Both:
    """The figures of requests that were due within the windows.

    Args:
        exchanges: They.
        bootstrap: Of the windows.
        rate: Their throughput, which counts by when replies came.
    """
    failed, due = exchanges.failed, exchanges.due
    waited = durations(exchanges.response_ms, failed)
    served = durations(exchanges.service_ms, failed)
    return Both(
        response=(rate, failures(exchanges, bootstrap), *percentile_figures(waited, due, bootstrap)),
        service=percentile_figures(served, due, bootstrap),
    )


def _row(group: Group, bootstrap: Bootstrap) -> Row:
    exchanges = group.exchanges
    both = by_both_clocks(exchanges, bootstrap, throughput(exchanges, bootstrap))
    return Row(
        group=group.group,
        name=group.name,
        requests=len(exchanges),
        failures=int(exchanges.failed.sum()),
        images=int(exchanges.images.sum()),
        response=both.response,
        service=both.service,
    )


def _names(column: Texts) -> list[str]:
    return sorted(set(column.tolist()) - {""})
