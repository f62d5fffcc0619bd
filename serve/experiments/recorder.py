"""What experiments saw, on its way to the ledger: queued in memory, written in batches, never waited for.

A ledger that does not answer is asked again; what does not fit into the queue meanwhile is dropped, and how
much of which arm is written as soon as it answers again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from dataclasses import replace

import structlog

from serve.core.errors import ServeError
from serve.core.experiment import Experiment
from serve.core.record import CallRecord, Dropped
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments.threads import LedgerThreads
from serve.ledger.database import told
from serve.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

# Records wait so long for company: short beside the poll in which harm is looked for.
GATHER_S = 0.1
RETRY_S = 1.0
CLOSING_RETRY_S = 0.2
MOST_AT_ONCE = 2_000
# Of images that are kept; beyond that their records go without them.
MOST_IMAGE_BYTES = 64 * 2**20

RECORD, MIRROR = "record", "mirror"
_Lost = Counter[tuple[int, int, int, str]]


class Recorder:
    """A bounded queue and the task that empties it."""

    def __init__(
        self, ledger: Ledger, threads: LedgerThreads, metrics: ExperimentMetrics, max_queued: int
    ) -> None:
        """Nothing runs before `run`.

        Args:
            ledger: Where records go.
            threads: In which it is asked.
            metrics: Count what is dropped.
            max_queued: Most records that wait.
        """
        self._ledger = ledger
        self._threads = threads
        self._metrics = metrics
        self._max_queued = max_queued
        self._queue: deque[tuple[Experiment, CallRecord]] = deque()
        self._image_bytes = 0
        self._lost: _Lost = Counter()
        self._filled = asyncio.Event()
        self._writing = asyncio.Lock()
        self._well = True

    @property
    def waiting(self) -> int:
        """Records that are not yet written."""
        return len(self._queue)

    def add(self, experiment: Experiment, record: CallRecord) -> None:
        """Take a record, or drop it when too many wait; never blocks."""
        if len(self._queue) >= self._max_queued:
            self.drop(experiment, record.phase, record.arm, RECORD)
            return
        self._queue.append((experiment, self._without_images_if_too_many(record)))
        self._filled.set()

    def drop(self, experiment: Experiment, phase: int, arm: int, what: str) -> None:
        """Count something that is lost: a record, or a mirrored call that was not made."""
        name = experiment.design.arms[arm].name
        if not self._metrics.has_ended(experiment.name):
            self._metrics.dropped.labels(experiment.name, name, what).inc()
        self._lost[experiment.id, phase, arm, what] += 1
        self._filled.set()

    async def run(self) -> None:
        """Write what comes; does not end by itself."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(GATHER_S if self._well else RETRY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits, as far as the ledger takes it."""
        async with self._writing:
            while self._queue or self._lost:
                if not await self._write():
                    return
            self._filled.clear()

    async def close(self, timeout_s: float) -> None:
        """Write what is left, for some time; what then remains is told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.flush()
                while self._queue:  # a ledger that starts anew may be back in time
                    await asyncio.sleep(CLOSING_RETRY_S)
                    await self.flush()
        if self._queue:
            log.error("records of experiments are lost", records=len(self._queue))

    async def _write(self) -> bool:
        """Write one batch; whatever fails there stays in the queue."""
        count = min(len(self._queue), MOST_AT_ONCE)
        taken = [self._queue[index] for index in range(count)]
        lost = self._lost.copy()
        drops = [
            Dropped(experiment=experiment, phase=phase, arm=arm, what=what, count=number)
            for (experiment, phase, arm, what), number in lost.items()
        ]
        try:
            await self._threads.run(self._ledger.records.write, [record for _, record in taken], drops)
        except ServeError as error:
            self._tell(well=False, why=told(error))
            return False
        except Exception:
            # A record that the ledger can never take must not keep back all that come after it.
            log.exception("the ledger does not take records of experiments, they are dropped", records=count)
            self._forget(count)
            for experiment, record in taken:
                self.drop(experiment, record.phase, record.arm, RECORD)
            return False
        self._forget(count)
        self._lost -= lost
        self._tell(well=True)
        return True

    def _forget(self, count: int) -> None:
        for _ in range(count):
            _, record = self._queue.popleft()
            self._image_bytes -= sum(map(len, record.images))

    def _without_images_if_too_many(self, record: CallRecord) -> CallRecord:
        size = sum(map(len, record.images))
        if self._image_bytes + size > MOST_IMAGE_BYTES:
            return replace(record, images=())
        self._image_bytes += size
        return record

    def _tell(self, *, well: bool, why: str = "") -> None:
        if well is self._well:
            return
        self._well = well
        if well:
            log.info("records of experiments are written again", waiting=len(self._queue))
        else:
            log.error("records of experiments cannot be written, they wait", error=why)
