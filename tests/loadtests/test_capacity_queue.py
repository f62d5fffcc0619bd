"""The simulated queue against closed forms, an exact chain, and the gateway's own rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from loadtests.capacity.knee import largest_rate
from loadtests.capacity.queue import Flow, Outcome, drawn, serve, simulate, through_front
from loadtests.capacity.service import Batching, CapacityError, Service
from serve.core.batching import Limits
from tests.loadtests.capacity_system import System, operate

ONE_BY_ONE = Batching(max_batch=1, workers=1, prefetch=0)
REQUESTS = 50_000


def exponential(rate: float, mean_ms: float, workers: int) -> Outcome:
    """Poisson arrivals, exponential times, images one by one."""
    random = np.random.default_rng(7)
    flow = Flow(
        at_ms=np.cumsum(random.exponential(1e3 / rate, REQUESTS)),
        images=np.ones(REQUESTS, np.int64),
        factors=random.exponential(1.0, REQUESTS),
        front_factors=np.ones(REQUESTS),
        settled=REQUESTS // 10,
    )
    service = Service(alpha_ms=mean_ms, beta_ms=0.0)
    return serve(service, replace(ONE_BY_ONE, workers=workers), flow)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_constant_times_give_the_mean_of_pollaczek_and_khinchine(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) services."""
    found = simulate(Service(alpha_ms=4.0, beta_ms=6.0), ONE_BY_ONE, 100 * load, requests=REQUESTS)
    assert found.response_ms.mean() == pytest.approx(10 * (1 + load / (2 * (1 - load))), rel=0.05)


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_varying_times_give_the_mean_of_pollaczek_and_khinchine(spread: float) -> None:
    """M/G/1: the mean wait grows with the square of the coefficient of variation, here of a lognormal."""
    service = Service(alpha_ms=10.0, beta_ms=0.0, spread=spread)
    found = simulate(service, ONE_BY_ONE, 50.0, requests=REQUESTS)
    squared = math.exp(spread**2) - 1  # of a lognormal
    assert found.response_ms.mean() == pytest.approx(10 * (1 + 0.5 * (1 + squared) / (2 * 0.5)), rel=0.06)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_exponential_times_give_exponential_response_times(share: float) -> None:
    """M/M/1: the response time is exponential with the rate mu - lambda."""
    found = exponential(50.0, 10.0, 1)
    expected = stats.expon.ppf(share, scale=1e3 / (100 - 50))
    assert found.percentile(share) == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize(("workers", "load"), [(2, 0.7), (4, 0.8)])
def test_several_workers_give_the_wait_of_erlang(workers: int, load: float) -> None:
    """M/M/c: the mean wait is C(c, a) / (c mu - lambda) with Erlang's C, here from its sum."""
    rate = 100 * load * workers
    offered = load * workers
    last = offered**workers / math.factorial(workers) / (1 - load)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(workers)) + last)
    found = exponential(rate, 10.0, workers)
    assert found.queue_ms.mean() == pytest.approx(1e3 * waits / (100 * workers - rate), rel=0.1)


def bulk_chain(alpha: float, beta: float, rate: float, most: int) -> tuple[float, float]:
    """Mean response and mean batch, exactly: the chain of Bailey (1954) of what waits when a batch ends.

    From q that wait the next batch has min(q, most), and new ones come at `rate` meanwhile; with none the
    next to come is a batch alone. Times are means over one step of the chain, over the mean length of a step.
    """
    size = 200
    chain = np.zeros((size, size))
    lengths, areas, batches = np.zeros(size), np.zeros(size), np.zeros(size)
    for waiting in range(size):
        batch = min(max(waiting, 1), most)
        time = alpha + beta * batch
        left = max(waiting, 1) - batch
        chain[waiting, left:] = stats.poisson.pmf(np.arange(size - left), rate * time)
        chain[waiting, -1] += 1 - chain[waiting].sum()
        lengths[waiting] = time + (1 / rate if waiting == 0 else 0.0)
        areas[waiting] = max(waiting, 1) * time + rate * time**2 / 2
        batches[waiting] = batch
    share = _stationary(chain)
    return float(share @ areas / (share @ lengths) / rate), float(share @ batches)


def _stationary(chain: NDArray[np.float64]) -> NDArray[np.float64]:
    system = np.vstack([chain.T - np.eye(len(chain)), np.ones(len(chain))])
    return np.asarray(np.linalg.lstsq(system, np.eye(len(chain) + 1)[-1], rcond=None)[0])


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.6])
def test_bulk_service_is_that_of_the_exact_chain(rate: float) -> None:
    """Batches of 1 to 8 whose time grows with their size: mean response and mean batch are exact."""
    response, batch = bulk_chain(4.0, 1.0, rate, 8)
    found = simulate(
        Service(alpha_ms=4.0, beta_ms=1.0), Batching(max_batch=8, prefetch=0), 1e3 * rate, requests=REQUESTS
    )
    assert found.response_ms.mean() == pytest.approx(response, rel=0.04)
    assert found.mean_batch == pytest.approx(batch, rel=0.03)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("images", [((1, 1.0),), ((1, 0.5), (3, 0.5))])
def test_beyond_saturation_so_many_are_answered(workers: int, images: tuple[tuple[int, float], ...]) -> None:
    """With more than it can do every batch is full: c B / S(B) images a second."""
    service = Service(alpha_ms=6.0, beta_ms=2.0, images=images)
    batching = Batching(max_batch=16, workers=workers)
    mean_images = sum(count * share for count, share in images)
    expected = workers * 16 / 0.038 / mean_images
    assert service.saturation(batching) == pytest.approx(expected)
    assert simulate(service, batching, 2 * expected).answered == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("prefetch", "busy_ms"), [(0, 11.4), (1, 5.7), (2, 3.8), (20, 1.4)])
def test_a_long_way_to_the_worker_is_filled_by_batches_handed_ahead(prefetch: int, busy_ms: float) -> None:
    """Each comes back after 10 + 1.4 ms, and so many are out at once: by Little's law, that is their rate."""
    service = Service(alpha_ms=1.0, beta_ms=0.1, held_ms=10.0)
    batching = Batching(max_batch=4, prefetch=prefetch)
    expected = 4e3 / busy_ms
    assert service.saturation(batching) == pytest.approx(expected)
    assert simulate(service, batching, 2 * expected).answered == pytest.approx(expected, rel=0.02)


def test_concurrency_is_what_is_seen_at_random_moments() -> None:
    """Little's law: the rate times the mean time is the mean number that are there, counted one by one.

    There is between the gateway's own work, which is one request at a time, and the worker's answer.
    """
    service = Service(alpha_ms=6.0, beta_ms=2.0, spread=0.3, front_ms=2.0, transport_ms=5.0)
    random = np.random.default_rng(3)
    at_ms = np.cumsum(random.exponential(5.0, REQUESTS))
    flow = drawn(at_ms, np.ones(REQUESTS, np.int64), 0.4, random)
    found = serve(service, Batching(), flow)
    queued = through_front(flow.at_ms, service.front_ms * flow.front_factors)
    left = np.sort(at_ms + found.response_ms - service.transport_ms)
    moments = random.uniform(at_ms[0], at_ms[-1], 5 * REQUESTS)
    there = np.searchsorted(queued, moments) - np.searchsorted(left, moments)
    assert found.concurrency == pytest.approx(there.mean(), rel=0.01)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rate=st.floats(20, 900),
    workers=st.integers(1, 3),
    prefetch=st.integers(0, 2),
    way_ms=st.sampled_from([0.0, 0.7, 3.0]),
)
def test_batches_are_those_of_the_gateways_own_rule(
    seed: int, rate: float, workers: int, prefetch: int, way_ms: float
) -> None:
    """Every response time is that of a simulation that asks `serve.core.batching.decide` after each event."""
    at_ms = np.cumsum(np.random.default_rng(seed).exponential(1e3 / rate, 300))
    limits = Limits(max_batch=5, max_queue_images=10**6, prefetch=prefetch)
    system = System(
        alpha_ms=6, beta_ms=2, spread=0.4, way_ms=way_ms, outside_ms=1, workers=workers, limits=limits
    )
    expected = np.array(operate(system, at_ms.tolist(), np.random.default_rng(seed)).ended_ms) - at_ms
    factors = np.exp(0.4 * np.random.default_rng(seed).standard_normal(300) - 0.08)
    found = serve(
        Service(alpha_ms=6, beta_ms=2, held_ms=2 * way_ms, transport_ms=1),
        Batching(max_batch=5, workers=workers, prefetch=prefetch),
        Flow(at_ms=at_ms, images=np.ones(300, np.int64), factors=factors, front_factors=np.ones(300)),
    )
    np.testing.assert_allclose(found.response_ms, expected, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 50), st.integers(1, 9)), min_size=2, max_size=60))
def test_a_request_of_several_images_waits_for_its_last_one(requests: list[tuple[float, int]]) -> None:
    """Its response time is the longest of as many requests of one image that arrive together."""
    at_ms = np.cumsum([gap for gap, _ in requests])
    images = np.array([count for _, count in requests])
    service, batching = Service(alpha_ms=3, beta_ms=1), Batching(max_batch=4, workers=2)
    whole = serve(service, batching, constant(at_ms, images))
    total = int(images.sum())
    single = serve(
        service, batching, constant(np.repeat(at_ms, images), np.ones(total, np.int64))
    ).response_ms
    pieces = np.split(single, np.cumsum(images)[:-1])
    np.testing.assert_allclose(whole.response_ms, [piece.max() for piece in pieces])


def constant(at_ms: NDArray[np.float64], images: NDArray[np.int64]) -> Flow:
    """Requests whose batches all take their mean time."""
    ones = np.ones(int(images.sum()))
    return Flow(at_ms=at_ms, images=images, factors=ones, front_factors=ones[: len(at_ms)])


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 10)), min_size=1, max_size=50))
def test_the_front_does_one_thing_at_a_time(requests: list[tuple[float, float]]) -> None:
    """d(i) = max(a(i), d(i - 1)) + s(i), here as a loop (Lindley, 1952)."""
    gaps, times = (np.array(column) for column in zip(*requests, strict=True))
    before, expected = 0.0, []
    for at, time in zip(np.cumsum(gaps), times, strict=True):
        before = max(at, before) + time
        expected.append(before)
    np.testing.assert_allclose(through_front(np.cumsum(gaps), times), expected, rtol=1e-9, atol=1e-9)


def test_a_front_alone_is_a_queue_of_its_own() -> None:
    """Before workers that take no time it is an M/G/1 with the mean wait of Pollaczek and Khinchine."""
    service = Service(alpha_ms=0.0, beta_ms=0.0, spread=0.5, front_ms=10.0)
    found = simulate(service, Batching(), 50.0, requests=REQUESTS)
    expected = 10 * (1 + 0.5 * math.exp(0.25) / (2 * 0.5))  # 1 + squared coefficient of variation: exp(s^2)
    assert found.response_ms.mean() == pytest.approx(expected, rel=0.06)


def test_the_largest_rate_is_that_of_the_closed_form() -> None:
    """Where 1 % of an M/D/1 waits longer than promised is where Crommelin's (1932) distribution says so."""
    promise_ms = 60.0
    found = largest_rate(Service(alpha_ms=10.0, beta_ms=0.0), ONE_BY_ONE, promise_ms)
    assert found is not None
    assert waits_at_most(promise_ms - 10, found / 1e3, 10.0) == pytest.approx(0.99, abs=0.003)


def waits_at_most(wait: float, rate: float, time: float) -> float:
    """M/D/1: (1 - rho) sum over k = 0.. floor(t / D) of exp(-lambda (k D - t)) (lambda (k D - t))^k / k!."""
    terms = (
        math.exp(-rate * (k * time - wait)) * (rate * (k * time - wait)) ** k / math.factorial(k)
        for k in range(math.floor(wait / time) + 1)
    )
    return (1 - rate * time) * sum(terms)


def test_no_rate_keeps_a_promise_below_the_time_of_a_batch() -> None:
    """A service of 10 ms answers nothing within 9."""
    assert largest_rate(Service(alpha_ms=10.0, beta_ms=0.0), ONE_BY_ONE, 9.0) is None


@pytest.mark.parametrize("name", ["max_batch", "workers"])
def test_what_serves_nothing_is_refused(name: str) -> None:
    """Batches and workers are at least one; the message names parameter, value and rule."""
    with pytest.raises(CapacityError, match=f"{name} is 0, must be at least 1"):
        Batching(**{name: 0})
