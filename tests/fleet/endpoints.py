"""The kubelet's readiness probes and the endpoint controller: ready pods are in DNS, others are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tests.fleet.names import Names
from tests.fleet.pods import Pod

# The manifests say 5 s for workers and 2 s for gateways.
PERIOD_S = 0.5
FAILURES = 2  # failureThreshold


@dataclass(slots=True)
class _Standing:
    """What is known of a pod.

    Attributes:
        ready: Whether it is in DNS.
        failures: Probes in a row that failed.
        since: When it came into DNS last, on the monotonic clock.
    """

    ready: bool = False
    failures: int = 0
    since: float = 0.0


class Endpoints:
    """Which pods are ready, and so in DNS."""

    def __init__(self, names: Names) -> None:
        """Know no pod yet."""
        self._names = names
        self._pods: dict[Pod, _Standing] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(8)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Probe while the context lasts."""
        thread = threading.Thread(target=self._probe_on, name="endpoints")
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(30)

    def admit(self, pod: Pod) -> None:
        """Let a pod in as soon as it is ready."""
        with self._lock:
            self._pods[pod] = _Standing()

    def withdraw(self, pod: Pod) -> None:
        """Take a pod out at once, as one that is being deleted; its readiness does not matter any more."""
        with self._lock:
            self._pods.pop(pod, None)
            self._publish()

    def holds(self, pod: Pod) -> bool:
        """Whether it is in DNS."""
        with self._lock:
            return pod in self._pods and self._pods[pod].ready

    def since(self, pod: Pod) -> float:
        """When it came into DNS last, on the monotonic clock."""
        with self._lock:
            return self._pods[pod].since

    def probe(self) -> None:
        """Probe all pods once, and say in DNS what has changed."""
        with self._lock:
            pods = list(self._pods)
        results = dict(zip(pods, self._pool.map(lambda pod: pod.is_ready(), pods), strict=True))
        with self._lock:
            changed = [self._take(pod, passed=passed) for pod, passed in results.items()]
            if any(changed):
                self._publish()

    def _probe_on(self) -> None:
        with self._pool:
            while not self._ending.wait(PERIOD_S):
                self.probe()

    def _take(self, pod: Pod, *, passed: bool) -> bool:
        """Count a probe's result; gives whether the pod came or went."""
        standing = self._pods.get(pod)
        if standing is None:  # withdrawn while it was being probed
            return False
        before = standing.ready
        standing.failures = 0 if passed else standing.failures + 1
        standing.ready = passed or (before and standing.failures < FAILURES)
        return standing.ready is not before

    def _publish(self) -> None:
        names: dict[str, list[str]] = {}
        fresh = []
        for pod, standing in self._pods.items():
            if standing.ready:
                names.setdefault(pod.service, []).append(pod.host.address)
                if not standing.since:
                    fresh.append(standing)
            else:
                standing.since = 0.0
        self._names.point(names)
        for standing in fresh:
            standing.since = time.monotonic()
