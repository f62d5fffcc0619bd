"""How busy a GPU is, as its driver says: nvidia-smi, which comes with it, read twice a second."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from threading import Event, Thread
from typing import Final

_QUERY: Final = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu,memory.used",
    "--format=csv,noheader,nounits",
    "-i",
)
_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look.

    Attributes:
        busy: Share of the time in which a kernel ran, in the driver's last window.
        memory_mb: In use, by whomever.
    """

    busy: float
    memory_mb: float

    @classmethod
    def parse(cls, line: str) -> Reading:
        """Read a line such as "87, 2310".

        Raises:
            ValueError: It is none; some devices answer "[N/A]".
        """
        busy, memory = line.split(",")
        return cls(busy=float(busy) / 100, memory_mb=float(memory))


@dataclass(slots=True)
class Readings:
    """Those of a phase; empty where the driver does not tell."""

    all: list[Reading] = field(default_factory=list)

    @property
    def busy(self) -> float | None:
        """Mean; None: not known."""
        return fmean(one.busy for one in self.all) if self.all else None

    @property
    def memory_mb(self) -> float | None:
        """Most; None: not known."""
        return max((one.memory_mb for one in self.all), default=None)


def ask(gpu: int = 0) -> str:
    """Ask the driver for a line."""
    return subprocess.run(  # noqa: S603  a fixed command and a number
        [*_QUERY, str(gpu)], capture_output=True, text=True, check=True, timeout=10
    ).stdout


@contextmanager
def watched(ask: Callable[[], str] = ask, every_s: float = _EVERY_S) -> Iterator[Readings]:
    """Look again and again as long as the block runs."""
    readings, stop = Readings(), Event()

    def look() -> None:
        while not stop.wait(every_s):
            try:
                readings.all.append(Reading.parse(ask()))
            except (
                OSError,
                subprocess.SubprocessError,
                ValueError,
            ):  # the table then says that it is unknown
                return

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        stop.set()
        thread.join()
