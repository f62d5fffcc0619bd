"""The circumstances of a measurement."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when it was measured."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    torch: str
    date: str

    @classmethod
    def here(cls) -> Machine:
        """This one, now."""
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
            system=platform.platform(),
            python=platform.python_version(),
            torch=_version("torch"),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # where only load is made nothing else needs it
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
