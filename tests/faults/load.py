"""Steady load on a gateway while something breaks, and the account of every request."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.e2e.demo import ROOT, Demo
from tests.e2e.processes import environment, wait_until
from tests.e2e.stacks import Stack
from tests.faults.callers import Entry, Orders

CALLERS = 8
# Keeps two cores busy, but not so busy that the load itself is the fault.
PAUSE_S = 0.04
DEADLINE_S = 20.0
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """Requests and how they ended."""

    entries: Sequence[Entry]

    def since(self, start: float, end: float = float("inf")) -> Ledger:
        """The requests of which some part lies between two moments of the monotonic clock."""
        return Ledger([one for one in self.entries if one.start + one.seconds >= start and one.start < end])

    @property
    def outcomes(self) -> Counter[str]:
        """How many ended in which way."""
        return Counter(one.outcome for one in self.entries)

    @property
    def failed(self) -> list[Entry]:
        """Those that got no answer."""
        return [one for one in self.entries if one.outcome not in ("ok", "wrong")]

    @property
    def wrong(self) -> list[Entry]:
        """Those that got another answer than the baseline's."""
        return [one for one in self.entries if one.outcome == "wrong"]

    @property
    def worst_s(self) -> float:
        """The longest, in seconds; 0 without requests."""
        return max((one.seconds for one in self.entries), default=0.0)

    def quantile_s(self, share: float) -> float:
        """The time in seconds that this share of the requests kept to; 0 without requests."""
        ordered = sorted(one.seconds for one in self.entries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Callers at work."""

    process: subprocess.Popen[bytes]
    lines: Path

    def ledger(self) -> Ledger:
        """The requests that have ended by now."""
        whole, _, _ = self.lines.read_text().rpartition("\n")
        return Ledger([Entry(**json.loads(line)) for line in whole.splitlines()])

    def go_on(self, seconds: float) -> None:
        """Let them ask for a while."""
        assert self.process.poll() is None, "the callers have ended"
        time.sleep(seconds)

    def end(self) -> Ledger:
        """Let them finish what they are at; gives the whole account."""
        self.process.terminate()
        assert self.process.wait(DEADLINE_S + 10) == 0, "the callers failed"
        return self.ledger()


@contextmanager
def load(
    stack: Stack, demo: Demo, model: str, *, pause_s: float = PAUSE_S, deadline_s: float = DEADLINE_S
) -> Iterator[Load]:
    """Callers who have their baseline and are at work; what is left of them at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="callers-") as name:
        folder = Path(name)
        orders = Orders(
            http=stack.addresses["http"],
            grpc=stack.addresses["grpc"],
            model=model,
            samples=str(demo.samples),
            ledger=str(folder / "ledger"),
            callers=CALLERS,
            pause_s=pause_s,
            deadline_s=deadline_s,
        )
        (folder / "orders.json").write_text(json.dumps(asdict(orders)))
        command = [sys.executable, "-m", "tests.faults.callers", str(folder / "orders.json")]
        process = subprocess.Popen(command, cwd=ROOT, env=environment())
        running = Load(process=process, lines=folder / "ledger")
        try:
            wait_until(lambda: _busy(running), START_TIMEOUT_S, "the callers are at work")
            yield running
        finally:
            process.kill()
            process.wait(10)


def _busy(running: Load) -> bool:
    assert running.process.poll() is None, "the callers failed; see above"
    return running.lines.exists() and len(running.ledger().entries) >= 5 * CALLERS
