"""Who used the processor, and how much memory: the gateway, Java and the workers apart."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psutil

# Program's name in the command line -> who that is; the gateway is the one that we started.
_ROLES: Final = {"bin/java": "Java", "model_service_worker.py": "worker"}
GATEWAY: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU seconds of an interval.

    Attributes:
        seconds: Its length.
        cpu_s: By role: gateway, Java, worker.
        machine_s: All that this machine did, whoever asked for it.
    """

    seconds: float
    cpu_s: Mapping[str, float]
    machine_s: float

    @property
    def cores(self) -> float:
        """Cores that gateway, Java and workers kept busy."""
        return sum(self.cpu_s.values()) / self.seconds


class Watch:
    """Reads the gateway's process and those that it started."""

    def __init__(self, pid: int) -> None:
        self._gateway = psutil.Process(pid)
        self._began = time.perf_counter()
        self._cpu = self._cpu_s()
        self._machine = _machine_s()

    def lap(self) -> Spent:
        """What was spent since the last lap."""
        before = (self._began, self._cpu, self._machine)
        self._began, self._cpu, self._machine = time.perf_counter(), self._cpu_s(), _machine_s()
        return Spent(
            seconds=self._began - before[0],
            cpu_s={role: cpu - before[1].get(role, 0.0) for role, cpu in self._cpu.items()},
            machine_s=self._machine - before[2],
        )

    def gateway_rss(self) -> int:
        """Bytes of memory that the gateway's own process holds."""
        return int(self._gateway.memory_info().rss)

    def memory(self) -> dict[str, int]:
        """Bytes of memory by role; what processes share is divided among them (proportional set size)."""
        held: defaultdict[str, int] = defaultdict(int)
        for process in (self._gateway, *self._gateway.children(recursive=True)):
            role = GATEWAY if process == self._gateway else _role(process)
            held[role] += int(process.memory_full_info().pss)
        return dict(held)

    def _cpu_s(self) -> dict[str, float]:
        spent: defaultdict[str, float] = defaultdict(float)
        spent[GATEWAY] = _cpu_of(self._gateway)
        for process in self._gateway.children(recursive=True):
            spent[_role(process)] += _cpu_of(process)
        return dict(spent)


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _role(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    return next((role for part, role in _ROLES.items() if part in command), "other")


def _machine_s() -> float:
    """CPU seconds that all processors were not idle, since the machine's start."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
