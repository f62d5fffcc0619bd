"""What a server costs: CPU time and memory of all its processes, whoever of them started whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that the processes hold.

    Attributes:
        pss: Proportional set size: pages that several share are counted once in all.
        rss: Resident set size, added up: shared pages are counted for each.
    """

    pss: int
    rss: int


class Meter:
    """Reads a process and all that it has started, as long as they live."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen: dict[int, float] = {}

    def cpu_s(self) -> float:
        """CPU seconds so far, with those of processes that ended after a call before."""
        for process in self._tree():
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._seen[process.pid] = float(times.user + times.system)
        return sum(self._seen.values())

    def idle_cores(self, seconds: float) -> float:
        """Cores that are kept busy while nobody asks anything."""
        cpu, began = self.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return (self.cpu_s() - cpu) / (time.perf_counter() - began)

    def memory(self) -> Memory:
        """What is held now."""
        pss = rss = 0
        for process in self._tree():
            with suppress(psutil.Error):
                info = process.memory_full_info()
                pss, rss = pss + info.pss, rss + info.rss
        return Memory(pss=pss, rss=rss)

    def _tree(self) -> Iterator[psutil.Process]:
        with suppress(psutil.Error):
            yield self._root
            yield from self._root.children(recursive=True)


def machine_s() -> float:
    """CPU seconds that all processors were not idle, since the machine's start."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
