"""A Deployment of workers that an autoscaler scales: pods come when their probes pass, and are drained."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.fleet.pods import WorkerPod
from tests.fleet.stage import Fleet


class Deployment:
    """So many workers as are asked for, of which each takes `answer_s` seconds to answer."""

    def __init__(self, fleet: Fleet, answer_s: float) -> None:
        """Without any worker."""
        self.replicas = 0
        self._fleet = fleet
        self._answer_s = answer_s
        self._pods: list[WorkerPod] = []
        self._leaving: list[Future[int]] = []
        self._drains = ThreadPoolExecutor(8, thread_name_prefix="drain")

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have it; in the end every pod that was drained must have ended by itself."""
        with self._drains:
            yield
        assert {drained.result() for drained in self._leaving} <= {143}

    @property
    def ready(self) -> int:
        """How many are in DNS."""
        return sum(map(self._fleet.endpoints.holds, self._pods))

    def scale(self, replicas: int) -> None:
        """Start or delete pods, those first that are not ready yet, then the newest."""
        self.replicas = replicas
        while len(self._pods) < replicas:
            pod = self._fleet.worker(self._answer_s)
            self._fleet.endpoints.admit(pod)
            self._pods.append(pod)
        while len(self._pods) > replicas:
            *_, last = sorted(self._pods, key=lambda pod: not self._fleet.endpoints.holds(pod))
            self._pods.remove(last)
            self._leaving.append(self._drains.submit(self._fleet.drain, last))
