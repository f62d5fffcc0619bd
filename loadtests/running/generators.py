"""What making the load costs, and whether the generator, not the gateway, was the limit of a run.

A load test measures its own generator where that cannot send, or read replies, as fast as it should. So the
processes that make load are watched while they do, and a run in which they were short of something says so.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import psutil

from loadtests.outcome import GeneratorCost, Run

INTERVAL_S: Final = 0.5
# A process that uses more of a core has requests that wait for it; an event loop has one core, whatever the
# machine has. One sample may be chance, such as a collection of garbage: it must be true for so long.
FULL: Final = 0.9
SUSTAINED_S: Final = 2.0
# Late is what is sent so much after it was due; and it matters where it is that share of what is measured.
LATE_MS: Final = 5.0
LATE_SHARE: Final = 0.1
_QUANTILE: Final = 0.99  # of lateness; and a generator that is full for less than the rest spoils no p99


@dataclass(frozen=True, slots=True)
class _Sample:
    """CPU seconds at a moment since the start of each process, and of all that the machine did."""

    at: float
    processes: Mapping[int, float]
    busy_s: float
    all_s: float


class Generators:
    """Reads the processor time of the processes that make load, now and then."""

    def __init__(self, names: Mapping[int, str]) -> None:
        """Read for the first time.

        Args:
            names: Of the processes, by their ids: "worker 1 on HOST"; those that are gone are left out.
        """
        self._names = names
        self._processes = [found for pid in names if (found := _process(pid))]
        self._samples = [self._sample()]

    def watch(self, end: threading.Event) -> None:
        """Read twice a second until `end`, and then once more."""
        while not end.wait(INTERVAL_S):
            self._samples.append(self._sample())
        self._samples.append(self._sample())

    def costs(self, sent: Mapping[int, int], began: float, ended: float) -> tuple[GeneratorCost, ...]:
        """What each process has used while it made load.

        Args:
            sent: Requests of each process, by its id; Locust's master, say, sent none.
            began: Unix time of the first request: what comes before is the start of the process.
            ended: Unix time of the last reply.
        """
        samples = [sample for sample in self._samples if began <= sample.at <= ended + INTERVAL_S]
        return tuple(_cost(name, pid, sent.get(pid, 0), samples) for pid, name in self._names.items())

    def _sample(self) -> _Sample:
        machine = psutil.cpu_times()
        # Time of guests is within user and nice already.
        whole = float(sum(machine)) - machine.guest - machine.guest_nice
        return _Sample(
            at=time.time(),
            processes=dict(_cpu_times(self._processes)),
            busy_s=whole - machine.idle - machine.iowait,
            all_s=whole,
        )


@contextmanager
def measuring(names: Mapping[int, str]) -> Iterator[Generators]:
    """Measure these processes, by id and name, during the block."""
    generators, end = Generators(names), threading.Event()
    thread = threading.Thread(target=generators.watch, args=(end,), name="generators", daemon=True)
    thread.start()
    try:
        yield generators
    finally:
        end.set()
        thread.join()


def warnings(run: Run) -> tuple[str, ...]:
    """Why the figures of a run may be those of its generator; a sentence each, with what to do."""
    makers = sum(cost.requests > 0 for cost in run.generators)
    more = f"spread the load with WORKERS={makers + 1} or more"
    found = [_full(cost, more) for cost in run.generators]
    if run.loop == "open" and len(run.exchanges):
        found.append(_no_slot(run) or _late(run, more))
    found.append(_shared(run))
    return tuple(filter(None, found))


def _full(cost: GeneratorCost, more: str) -> str:
    if cost.full_s <= max(min(SUSTAINED_S, cost.seconds / 2), (1 - _QUANTILE) * cost.seconds):
        return ""
    each = f" ({1e3 * cost.cpu_s / cost.requests:.2f} ms of CPU a request)" if cost.requests else ""
    return (
        f"{cost.name} used more than {_percent(FULL)} of a core for {cost.full_s:.0f} of "
        f"{cost.seconds:.0f} s{each}: the generator may be the limit, not the gateway; {more}"
    )


def _no_slot(run: Run) -> str:
    if not run.waited:
        return ""
    return (
        f"{run.waited} of {len(run.exchanges)} requests found none of {run.slots} slots free and were sent "
        "late: their response time counts the wait, but the gateway never saw them wait; more slots show "
        "what it does with them"
    )


def _late(run: Run, more: str) -> str:
    latest = float(np.quantile(run.exchanges.late_ms, _QUANTILE))
    if latest <= max(LATE_MS, LATE_SHARE * float(np.median(run.exchanges.response_ms))):
        return ""
    return (
        f"{_percent(1 - _QUANTILE)} of the requests were sent {latest:.0f} ms late or later although slots "
        f"were free: the generator did not keep up, and that is in the response times; {more}"
    )


def _shared(run: Run) -> str:
    busy = max((cost.machine_busy for cost in run.generators), default=0.0)
    if busy <= FULL or not _is_here(run.target):
        return ""
    return (
        f"the gateway and its load shared this machine, whose cores were {_percent(busy)} busy: each took "
        "from the other; make the load on another machine to see what the gateway can do alone"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _is_here(target: str) -> bool:
    host = urlsplit(target if "//" in target else f"//{target}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cost(name: str, pid: int, requests: int, samples: Sequence[_Sample]) -> GeneratorCost:
    known = [sample for sample in samples if pid in sample.processes]
    at = np.array([sample.at for sample in known])
    cpu = np.array([sample.processes[pid] for sample in known])
    if len(known) <= 1:
        return GeneratorCost(name=name, requests=requests, seconds=0.0, cpu_s=0.0, busiest=0.0)
    pauses = np.diff(at)
    # CPU time comes in ticks of 10 ms: the last reading may be so near to the one before that a tick is more
    # than a core.
    shares = np.where(pauses > INTERVAL_S / 2, np.diff(cpu) / np.maximum(pauses, INTERVAL_S / 2), 0.0)
    first, last = known[0], known[-1]
    return GeneratorCost(
        name=name,
        requests=requests,
        seconds=float(at[-1] - at[0]),
        cpu_s=float(cpu[-1] - cpu[0]),
        busiest=float(shares.max()),
        full_s=float(pauses[shares > FULL].sum()),
        machine_busy=(last.busy_s - first.busy_s) / max(last.all_s - first.all_s, 1e-9),
    )


def _process(pid: int) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
    return None


def _cpu_times(processes: Sequence[psutil.Process]) -> Iterator[tuple[int, float]]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            yield process.pid, float(times.user + times.system)
