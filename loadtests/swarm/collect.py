"""What the processes of a run have seen, gathered in the one that concludes it.

Each process that makes load keeps its requests until its next report: Locust's workers send theirs to the
master with Locust's own, every few seconds, and the last when all is answered.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from loadtests.exchange import Exchange
from loadtests.exchanges import write_rows
from loadtests.outcome import Slo
from loadtests.swarm.loops import Loop
from loadtests.swarm.stop_rule import StopRule
from loadtests.tally import Tally

Report: TypeAlias = dict[str, Any]  # plain values, as a message to Locust's master needs them

MOST_ERRORS: Final = 20  # lines; what is told beyond them is how many there are


class Collector:
    """What one process that makes load has to report."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rows: list[list[Any]] = []
        self._due: Counter[int] = Counter()
        self._receipts: Counter[str] = Counter()

    def tell_due(self, due: float) -> None:
        """A request is due at that Unix time."""
        self._due[math.floor(due)] += 1

    def add(self, exchange: Exchange) -> None:
        """A request has ended."""
        self._rows.append(exchange.as_row())

    def add_receipts(self, receipts: Mapping[str, int]) -> None:
        """So many outcomes that were told to an experiment got that receipt."""
        self._receipts.update(receipts)

    def report(self, loop: Loop) -> Report:
        """What is new since the last report, and how the loop stands."""
        report = {
            "rows": self._rows,
            "due": dict(self._due),
            "receipts": dict(self._receipts),
            "until": loop.known_until,
            "unsent": loop.unsent,
            "waited": loop.waited,
            "finished": loop.finished.is_set(),
            "pid": os.getpid(),
        }
        self._rows, self._due, self._receipts = [], Counter(), Counter()
        return report


@dataclass(slots=True)
class _Sender:
    """The last that a process said of itself."""

    until: float = -math.inf
    unsent: int = 0
    waited: int = 0
    finished: bool = False
    pid: int = 0
    requests: int = 0


@dataclass(slots=True)
class Ledger:
    """All that was reported of a run.

    Attributes:
        slo: What was promised.
        keeps_rows: Whether every request is kept, for `write_exchanges`.
        tally: Of all requests, and of outcomes told to experiments.
        errors: What went wrong besides requests; lines.
        stopped: Why the run was ended early; "" when it was not.
        ended: Unix time of the last reply; 0 before the first.
    """

    slo: Slo
    keeps_rows: bool = False
    tally: Tally = field(default_factory=Tally)
    errors: list[str] = field(default_factory=list)
    stopped: str = ""
    ended: float = 0.0
    _senders: dict[str, _Sender] = field(default_factory=dict)
    _rule: StopRule = field(init=False)
    _spool: IO[str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._rule = StopRule(self.slo)
        if self.keeps_rows:
            # On disk, so that a soak of a day does not fill the memory of the process that makes its load.
            self._spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed by `close`

    def take(self, sender: str, report: Report) -> None:
        """Add what a process reports."""
        self._rule.count_due(report["due"])
        self.tally.receipts.update(report["receipts"])
        known = self._senders.setdefault(sender, _Sender())
        for row in report["rows"]:
            self._add(Exchange.of_row(row))
            if self._spool:
                self._spool.write(json.dumps(row) + "\n")
        known.until, known.finished, known.pid = report["until"], report["finished"], report["pid"]
        known.unsent, known.waited = report["unsent"], report["waited"]
        known.requests += len(report["rows"])

    def judge(self, senders: Collection[str]) -> str:
        """Why the run must stop, as far as all of these processes have reported; "" when it need not."""
        until = min((self._senders.get(sender, _Sender()).until for sender in senders), default=-math.inf)
        return self._rule.judge(until)

    def finished(self, senders: Collection[str]) -> bool:
        """Whether all that was to arrive at any of these processes has arrived and is answered."""
        return bool(senders) and all(self._senders.get(one, _Sender()).finished for one in senders)

    @property
    def unsent(self) -> int:
        """Requests that were due and never sent, because the run was stopped."""
        return sum(sender.unsent for sender in self._senders.values())

    def as_json(self) -> dict[str, Any]:
        """For a file; `sent` has the requests of each process, by its id."""
        sent: Counter[str] = Counter()
        for sender in self._senders.values():
            sent[str(sender.pid)] += sender.requests
        return {
            "tally": self.tally.as_json(),
            "stopped": self.stopped,
            "receipts": dict(self.tally.receipts),
            "workers": len(self._senders),
            "sent": dict(sent),
            "unsent": self.unsent,
            "waited": sum(sender.waited for sender in self._senders.values()),
        }

    def write_exchanges(self, file: Path) -> None:
        """Write every request, for `read_exchanges`."""
        fresh = file.with_name(f".{file.name}.part")
        write_rows(fresh, self._kept())
        fresh.replace(file)

    def close(self) -> None:
        """Forget the requests that were kept."""
        if self._spool:
            self._spool.close()

    def _add(self, exchange: Exchange) -> None:
        self.tally.add(exchange)
        self._rule.count(exchange)
        self.ended = max(self.ended, exchange.ended)

    def _kept(self) -> Iterator[list[Any]]:
        assert self._spool, "is told to keep them before it is asked for them"  # noqa: S101  our own invariant
        self._spool.seek(0)
        return (json.loads(line) for line in self._spool)


def write_result(file: Path, document: Mapping[str, Any]) -> None:
    """Write JSON; whoever reads the file never finds half of it."""
    fresh = file.with_name(f".{file.name}.part")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(file)


def shortened(lines: list[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_ERRORS
    return lines if more <= 0 else [*lines[:MOST_ERRORS], f"and {more} more sorts of error"]
