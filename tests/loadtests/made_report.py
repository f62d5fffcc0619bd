"""A report with everything in it, whose values follow from formulas: an M/M/1 queue under rising load."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from loadtests.report.document import (
    PERCENTILES,
    Comparison,
    Failure,
    Figure,
    GatewayPoint,
    Generator,
    Knee,
    Point,
    Report,
    Row,
    Step,
)

SERVICE_RATE = 100.0  # a second
LOADS = (20.0, 40.0, 60.0, 80.0, 120.0)
STEP_S = 24.0
BINS = 120
WAYS = ("gRPC", "REST binary", "REST JSON")
ARMS = ("old", "new")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def wait_ms(load: float, share: float) -> float:
    """Quantile of the response time in an M/M/1 queue; an overloaded one is taken as nearly full."""
    return -1e3 * math.log(1 - share) / (SERVICE_RATE - min(load, 99.0))


def figures(load: float, n: int) -> tuple[Figure, ...]:
    """Throughput, failures and percentiles at a load."""
    rate = min(load, SERVICE_RATE)
    waits = [
        Figure(name=f"p{100 * q:g}", unit="ms", value=w, low=0.9 * w, high=1.15 * w, log_se=0.06, n=n)
        for q in PERCENTILES
        for w in [wait_ms(load, q)]
    ]
    return (
        Figure(
            name="throughput", unit="1/s", value=rate, low=0.97 * rate, high=1.03 * rate, log_se=0.01, n=n
        ),
        Figure(name="failures", unit="share", value=max(0.0, 1 - SERVICE_RATE / load), n=n),
        *waits,
    )


def row(group: str, name: str, requests: int = 5000, load: float = 60.0) -> Row:
    """Some of the requests."""
    found = figures(load, requests)
    return Row(
        group=group,
        name=name,
        requests=requests,
        failures=7,
        images=2 * requests,
        response=found,
        service=tuple(replace(f, value=10.0, low=9.0, high=11.0) for f in found if f.unit == "ms"),
    )


def points(group: str, name: str, bins: int = BINS) -> tuple[Point, ...]:
    """A timeline over all steps."""
    return tuple(point(group, name, (place + 0.5) * STEP_S * len(LOADS) / bins) for place in range(bins))


def point(group: str, name: str, at: float) -> Point:
    """One bin of it."""
    load = LOADS[min(int(at / STEP_S), len(LOADS) - 1)]
    p50, p90, p95, p99, p999 = (wait_ms(load, share) for share in PERCENTILES)
    return Point(
        group=group,
        name=name,
        at=at,
        offered=load,
        answered=min(load, SERVICE_RATE),
        failed=int(max(0.0, load - SERVICE_RATE)),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        p999=p999 if load >= 60 else None,
        service_p50=7.0,
        service_p90=23.0,
        service_p95=30.0,
        service_p99=min(46.0, p99),
    )


def step(place: int) -> Step:
    """One of the steps."""
    load = LOADS[place]
    return Step(
        name=f"{load:g} a second",
        load=load,
        begins=place * STEP_S + STEP_S / 5,
        ends=(place + 1) * STEP_S,
        response=figures(load, int(load * STEP_S)),
        service=row("all", "all").service,
        mean_batch=1 + load / 40,
        queue_ms=load / 10,
        inference_ms=8.0,
        handler_ms=9.5,
        gateway_cores=load / 200,
        kept=load < SERVICE_RATE,
        why="" if load < SERVICE_RATE else "83 % of what was due was answered well, 98 % must be",
    )


def gateway(model: str, bins: int = BINS) -> tuple[GatewayPoint, ...]:
    """What the gateway said of a model."""
    return tuple(
        GatewayPoint(
            model=model,
            at=p.at,
            mean_batch=1 + p.offered / 40,
            queue_ms=p.offered / 10,
            inference_ms=8.0,
            queued_images=p.offered / 20,
        )
        for p in points("model", model, bins)
    )


def compared(what: str, ratio: float, word: str, tolerance: float = 0.1) -> Comparison:
    """A figure of this run over the baseline's."""
    return Comparison(
        what=what,
        baseline=40.0,
        now=40.0 * ratio,
        unit="ms",
        ratio=ratio,
        low=ratio / 1.06,
        high=ratio * 1.06,
        verdict=word,
        sentence=f"{what} is {ratio:.2f} times the baseline's",
        tolerance=tolerance,
    )


def capacity() -> dict[str, Any]:
    """An answer of the capacity model, a tenth above what was measured; each second step held out."""

    def quantiles(load: float, factor: float) -> dict[str, float]:
        return {name: factor * wait_ms(load, share) for name, share in QUANTILES.items()}

    steps = [
        {
            "name": f"{load:g} a second",
            "rate": load,
            "steady": load < SERVICE_RATE,
            "kept": load < SERVICE_RATE,
            "measured": quantiles(load, 1.0),
            "predicted": quantiles(load, 1.0) if load < SERVICE_RATE else {},
            "held_out": quantiles(load, 1.1) if place % 2 else {},
            "left_out": quantiles(load, 1.1) if load < SERVICE_RATE else {},
            "mean_batch": 1 + load / 40,
            "predicted_batch": 1.1 + load / 40 if load < SERVICE_RATE else None,
        }
        for place, load in enumerate(LOADS)
    ]
    return {
        "format": 1,
        "model": "digits_se",
        "p99_ms": 250.0,
        "steps": steps,
        "curve": [{"rate": rate, **quantiles(rate, 1.0)} for rate in (10.0, 50.0, 80.0, 90.0, 97.0)],
        "knee": {"predicted": 81.6, "low": 78.0, "high": 84.0, "carried": 80.0, "broken": 120.0},
        "replicas": [
            {"what": "target", "rate": 300.0, "replicas": 4, "cautious": 5, "p99_ms": 184.2},
            {"what": "2 x", "rate": 160.0, "replicas": 2, "cautious": 3, "p99_ms": 230.3},
        ],
        "autoscaling": {"hpa": "kind: HorizontalPodAutoscaler\nspec: {}\n", "keda": "kind: ScaledObject\n"},
        "doubts": [],
        "sentences": ["digits_se is predicted to carry 81.6 requests a second.", "The limit is the workers."],
    }


def made(models: tuple[str, ...] = ("digits_se", "digits_eca"), bins: int = BINS) -> Report:
    """A report with all its parts."""
    names = (
        ("all", "all"),
        *(("way", way) for way in WAYS),
        *(("model", model) for model in models),
        *(("arm", arm) for arm in ARMS),
    )
    return Report(
        scenario="steps",
        summary="Arrivals in steps, from a quarter to five quarters of what is carried",
        loop="open",
        options={"--rate": "100", "--seed": "1"},
        target="http://127.0.0.1:8080",
        began=1_767_589_200.0,
        seconds=STEP_S * len(LOADS),
        stopped="more than 1 % of requests waited longer than 250 ms for 5 s",
        slo={"p99_ms": 250.0, "failures": 0.01},
        headline=("It carries 80 requests a second, with a p99 of 230 ms.", "It broke at 120 a second."),
        warnings=("The busiest second of worker 1 took 93 % of a core: some waiting is its own.",),
        rows=tuple(row(group, name) for group, name in (*names, ("kind", "one image"))),
        timeline=tuple(found for group, name in names for found in points(group, name, bins)),
        steps=tuple(map(step, range(len(LOADS)))),
        knee=Knee(load=80.0, broken=120.0, text="80 a second was carried, 120 a second was not."),
        gateway=tuple(found for model in models for found in gateway(model, bins)),
        comparisons=(
            compared("p50, all", 1.0, "same"),
            compared("p99, gRPC", 1.4, "worse"),
            compared("p99, REST JSON", 0.7, "better"),
            compared("p99.9, all", 1.1, "unclear"),
        ),
        arms=(compared("p50, new over old", 1.01, "same", 0.05),),
        failures=(Failure(way="gRPC", kind="one image", fault="a probability is not finite", count=7),),
        refused={"corrupt image": 31, "oversized image": 12},
        receipts={"accepted": 400},
        generators=(
            Generator(name="worker 1", requests=5000, cpu_ms_per_request=1.7, cores=0.4, busiest=0.93),
        ),
        machine={"processor": "a processor", "cores": "2"},
        capacity=capacity(),
        experiment={"report": {"sentence": "No difference that matters between old and new."}},
    )


def empty() -> Report:
    """A run in which nothing was sent."""
    return Report(
        scenario="smoke",
        summary="",
        loop="closed",
        options={},
        target="",
        began=0.0,
        seconds=0.0,
        stopped="",
        slo={},
        headline=(),
        warnings=(),
        rows=(),
        timeline=(),
    )
