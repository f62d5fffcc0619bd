"""What the gateway says of itself while it is under load: its metrics, read about once a second.

A whole metrics page costs a gateway of a hundred models a fifth of a second to write. So only the series that
are needed are asked for (`name[]`, which every page of prometheus_client understands), and of what comes only
the lines of the models that are loaded are parsed.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import httpx

from loadtests.outcome import ModelCounters, Snapshot
from loadtests.scrape import Scrape

INTERVAL_S: Final = 1.0
# Of the time at most this share goes into scrapes: a gateway whose page is long is asked less often.
MOST_SHARE: Final = 0.1
TIMEOUT_S: Final = 5.0
_BATCHES: Final = "attnserve_batch_images"
_STAGES: Final = "attnserve_stage_duration_seconds"
_QUEUED: Final = "attnserve_queue_images"
_INFLIGHT: Final = "attnserve_inflight_requests"
_CPU: Final = "process_cpu_seconds_total"
_RSS: Final = "process_resident_memory_bytes"
_BY_MODEL: Final = (
    *(f"{name}_{part}" for name in (_BATCHES, _STAGES) for part in ("sum", "count")),
    *(_QUEUED, _INFLIGHT),
)
_OF_PROCESS: Final = (_CPU, _RSS)
_HANDLER_STAGES: Final = ("decode", "inference", "encode")
# (model, series, stage) -> value; "" where a series has no such label.
Totals: TypeAlias = defaultdict[tuple[str, str, str], float]


class Watch:
    """Reads a metrics page now and then.

    Attributes:
        missed: Scrapes that failed; they are left out.
    """

    def __init__(self, url: str, models: Collection[str]) -> None:
        """Read nothing yet.

        Args:
            url: Of the gateway's metrics page.
            models: Names of those that answer: no alias, no experiment.
        """
        self.missed = 0
        self._url = url
        self._models = tuple(models)
        self._wanted = _wanted(self._models)
        self._snapshots: list[Snapshot] = []
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """What has been read so far, in order."""
        return tuple(self._snapshots)

    def look(self) -> float:
        """Read the page once, and take down what it says.

        Returns:
            Seconds that it took.
        """
        began = time.perf_counter()
        try:
            page = self._client.get(self._url, params={"name[]": [*_BY_MODEL, *_OF_PROCESS]})
            self._snapshots.append(self._snapshot(page.raise_for_status().text))
        except (httpx.HTTPError, ValueError):  # ValueError: what came is no page of metrics
            self.missed += 1
        return time.perf_counter() - began

    def watch(self, end: threading.Event) -> None:
        """Look about once a second until `end`."""
        took = 0.0
        while not end.wait(max(INTERVAL_S - took, took / MOST_SHARE)):
            took = self.look()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _snapshot(self, text: str) -> Snapshot:
        """Raises ValueError when there is nothing of ours on the page."""
        lines = [line for line in text.splitlines() if self._wanted.match(line)]
        if not lines:
            raise ValueError(f"{self._url} has no metrics of {self._models}")
        totals: Totals = defaultdict(float)
        for sample in Scrape.of_text("\n".join([*lines, ""])).samples:
            key = (sample.labels.get("model", ""), sample.name, sample.labels.get("stage", ""))
            totals[key] += sample.value
        return Snapshot(
            at=time.time(),
            models={model: _counters(totals, model) for model in self._models},
            gateway_cpu_s=totals["", _CPU, ""],
            gateway_rss=totals["", _RSS, ""],
        )


@contextmanager
def watching(url: str, models: Collection[str]) -> Iterator[Watch]:
    """Watch the gateway during the block: a first scrape before it, a last one after it.

    Args:
        url: Of its metrics page.
        models: As in `Watch`.
    """
    watch, end = Watch(url, models), threading.Event()
    thread = threading.Thread(target=watch.watch, args=(end,), name="watch", daemon=True)
    watch.look()
    thread.start()
    try:
        yield watch
    finally:
        end.set()
        thread.join()
        watch.look()
        watch.close()


def _counters(totals: Totals, model: str) -> ModelCounters:
    return ModelCounters(
        batches=totals[model, f"{_BATCHES}_count", ""],
        batched_images=totals[model, f"{_BATCHES}_sum", ""],
        queue_s=totals[model, f"{_STAGES}_sum", "queue"],
        queue_requests=totals[model, f"{_STAGES}_count", "queue"],
        inference_s=totals[model, f"{_STAGES}_sum", "inference"],
        inference_batches=totals[model, f"{_STAGES}_count", "inference"],
        handler_s=sum(totals[model, f"{_STAGES}_sum", stage] for stage in _HANDLER_STAGES),
        queued_images=totals[model, _QUEUED, ""],
        inflight=totals[model, _INFLIGHT, ""],
    )


def _wanted(models: Collection[str]) -> re.Pattern[str]:
    """Lines of those models, and of the process: none of the many buckets."""
    named = "|".join(map(re.escape, models))
    return re.compile(
        rf'(?:{"|".join(_BY_MODEL)})\{{(?:.*,)?model="(?:{named})"[,}}]|(?:{"|".join(_OF_PROCESS)}) '
    )
