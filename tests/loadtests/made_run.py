"""Runs whose answers are known: requests with times that follow from a formula or from a seeded generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from loadtests.exchange import GRPC, REST_JSON
from loadtests.exchanges import Exchanges, Floats, Mask
from loadtests.outcome import Phase, Run, Slo

BEGAN = 1_700_000_000.0
NOTHING: Mapping[str, str] = MappingProxyType({})


def arrivals(rate: float, seconds: float, seed: int, begins: float = BEGAN) -> Floats:
    """Poisson arrivals: a Poisson number of them, independent and uniform."""
    rng = np.random.default_rng(seed)
    return np.sort(begins + rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def exchanges(due: Floats, response_ms: Floats | float, failed: Mask | None = None) -> Exchanges:
    """Requests of one model, every other one over REST."""
    n = len(due)
    waited = np.broadcast_to(np.asarray(response_ms, np.float64), n)
    wrong = np.zeros(n, np.bool_) if failed is None else failed
    ways = np.array([GRPC, REST_JSON], object)[np.arange(n) % 2]
    one = np.ones(n, np.int64)
    return Exchanges(
        due=due,
        sent=due + waited / 4e3,
        ended=due + waited / 1e3,
        way=ways,
        kind=np.full(n, "one image", object),
        model=np.full(n, "digits", object),
        served=np.full(n, "digits", object),
        arm=np.full(n, "", object),
        outcome=np.where(wrong, "internal", "ok").astype(object),
        fault=np.where(wrong, "wrong", "").astype(object),
        images=one,
        judged=one,
        right=one,
    )


def queue_ms(due: Floats, service_s: Floats) -> Floats:
    """Response times of one server, first come, first served: Lindley's recursion, unrolled."""
    done = np.cumsum(service_s)
    finished = done + np.maximum.accumulate(due - (done - service_s))
    return np.asarray(1e3 * (finished - due))


def together(*parts: Exchanges) -> Exchanges:
    """Their requests as one set, in order."""
    names = Exchanges.__slots__
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.argsort(joined["due"], kind="stable")
    return Exchanges(**{name: column[order] for name, column in joined.items()})


def in_arm(one: Exchanges, name: str) -> Exchanges:
    """The same, answered by an arm of an experiment."""
    return replace(one, arm=np.full(len(one), name, object))


def phase(load: float, begins: float, seconds: float, unit: str = "a second") -> Phase:
    """One that begins so many seconds into the run."""
    start = BEGAN + begins
    return Phase(name=f"{load:g} {unit}", begins=start, ends=start + seconds, load=load)


def run_of(
    made: Exchanges, *phases: Phase, loop: str = "open", slo_ms: float = 250.0, scenario: str = "made"
) -> Run:
    """A run of these requests that ended with its last phase."""
    return Run(
        scenario=scenario,
        summary="Made for a test",
        loop=loop,
        options=NOTHING,
        target="http://127.0.0.1:8080",
        began=BEGAN,
        ended=phases[-1].ends,
        stopped="",
        exchanges=made,
        phases=phases,
        slo=Slo(p99_ms=slo_ms),
    )


def steady(rate: float = 200.0, seconds: float = 24.0, seed: int = 1, scale: float = 1.0) -> Run:
    """One phase with exponential response times of 20 ms on average, times `scale`."""
    due = arrivals(rate, seconds, seed)
    waited = scale * np.random.default_rng(seed + 10_000).exponential(20.0, len(due))
    return run_of(exchanges(due, waited), phase(rate, 0, seconds))
