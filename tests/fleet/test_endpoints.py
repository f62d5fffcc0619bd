"""Pods enter DNS when they are ready, and leave it as in Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from tests.faults.network import Namespace
from tests.fleet.endpoints import FAILURES, Endpoints
from tests.fleet.lan import Host
from tests.fleet.names import Names
from tests.fleet.pods import Pod


class Book:
    """Names, written down only."""

    def __init__(self) -> None:
        self.names: Mapping[str, Sequence[str]] = {}

    def point(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = names


class Moody(Pod):
    """Ready when it is told to be."""

    service, port = "worker", 1

    def __init__(self, number: int) -> None:
        self.host = Host(Namespace("nowhere"), number)
        self.ready = False

    def is_ready(self) -> bool:
        return self.ready


def test_a_pod_comes_with_one_success_and_goes_with_two_failures() -> None:
    """A deleted one goes at once, and its readiness is of no interest any more."""
    book, pods = Book(), (Moody(2), Moody(3))
    endpoints = Endpoints(cast("Names", book))
    for pod in pods:
        endpoints.admit(pod)
    endpoints.probe()
    assert book.names == {}
    for pod in pods:
        pod.ready = True
    endpoints.probe()
    assert book.names == {"worker": ["10.78.0.2", "10.78.0.3"]}
    assert endpoints.since(pods[0]) > 0
    pods[0].ready = False
    for _ in range(FAILURES - 1):
        endpoints.probe()
    assert endpoints.holds(pods[0])
    endpoints.probe()
    assert book.names == {"worker": ["10.78.0.3"]}
    endpoints.withdraw(pods[1])
    endpoints.probe()
    assert book.names == {}
    assert not endpoints.holds(pods[1])
