"""Counting: what was sent, what the gateway counted, and the rate of answers."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from loadtests.bench.generator import LoadError, steady_rate
from loadtests.scrape import Scrape
from loadtests.tally import GRPC_OUTCOMES, HTTP_OUTCOMES, NO_ANSWER, Exchange, Kind, Tally, differences
from serve.metrics import OUTCOME_LABELS, Metrics


def test_a_tally_survives_its_file() -> None:
    """The locustfile writes it, the runner reads it."""
    tally = Tally()
    tally.add(Exchange(model="digits_se", protocol="grpc", outcome="ok", right=3, judged=4))
    tally.add(Exchange(model="digits_se", protocol="grpc", outcome="ok", right=1, judged=1))
    tally.add(Exchange(model="digits_sk", protocol="http"))
    assert Tally.of_json(json.loads(json.dumps(tally.as_json()))) == tally
    assert tally.accuracy == pytest.approx(0.8)
    assert tally.requests == {Kind("digits_se", "grpc", "ok"): 2, Kind("digits_sk", "http", NO_ANSWER): 1}


def test_nothing_judged_is_no_accuracy() -> None:
    """A run without answers must not pass for a perfect one."""
    assert Tally().accuracy == 0.0


def test_the_gateways_counts_are_read_as_its_metrics_give_them() -> None:
    """By model, protocol and outcome, versions together, only the models asked for."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for version, times in (("1", 3), ("2", 4)):
        metrics.requests.labels("digits_se", version, "grpc", "ok").inc(times)
    metrics.requests.labels("digits_se", "1", "http", "client_error").inc()
    metrics.requests.labels("other", "1", "http", "ok").inc()
    counts = Scrape.of_text(generate_latest(registry).decode()).requests(["digits_se"])
    assert +counts == {Kind("digits_se", "grpc", "ok"): 7, Kind("digits_se", "http", "client_error"): 1}


def test_a_scrape_adds_up_by_labels() -> None:
    """Labels that are not named are summed over; an unknown name is 0."""
    page = Scrape.of_text('a_total{x="1",y="1"} 2\na_total{x="1",y="2"} 3\na_total{x="2",y="1"} 5\n')
    assert [page.total("a_total"), page.total("a_total", x="1"), page.total("b_total")] == [10, 5, 0]


def test_counts_that_differ_are_named_in_both_directions() -> None:
    """Missing on either side is a difference; a kind that both have 0 times is none."""
    ok, error = Kind("m", "grpc", "ok"), Kind("m", "http", "internal")
    ours, theirs = Tally(), Tally()
    ours.requests.update({ok: 2})
    theirs.requests.update({ok: 2, error: 0})
    assert differences(ours.requests, theirs.requests) == []
    theirs.requests.update({ok: 1, error: 1})
    assert differences(ours.requests, theirs.requests) == [
        "m grpc ok: sent 2, the gateway counted 3",
        "m http internal: sent 0, the gateway counted 1",
    ]


def test_every_status_of_the_gateway_has_one_of_its_outcomes() -> None:
    """Nothing that it can answer would be counted as no answer."""
    assert set(GRPC_OUTCOMES.values()) == set(HTTP_OUTCOMES.values()) == set(OUTCOME_LABELS)
    assert GRPC_OUTCOMES[grpc.StatusCode.RESOURCE_EXHAUSTED] == HTTP_OUTCOMES[429] == "shed"
    assert GRPC_OUTCOMES[grpc.StatusCode.INVALID_ARGUMENT] == HTTP_OUTCOMES[400] == "client_error"


@given(
    batch=st.integers(1, 32),
    batches=st.integers(3, 30),
    pause_ms=st.integers(10, 5000),
    start=st.integers(0, 100),
)
def test_the_rate_does_not_depend_on_where_the_window_cuts(
    batch: int, batches: int, pause_ms: int, start: int
) -> None:
    """Answers that come a batch at a time, any number of batches: the slope is the true rate."""
    ended = [start + pause_ms / 1e3 * number for number in range(batches) for _ in range(batch)]
    assert steady_rate(ended) == pytest.approx(batch / (pause_ms / 1e3), rel=1e-6)


def test_the_rate_of_unsteady_answers_is_their_rate() -> None:
    """With arrivals at random it is close to number over time."""
    ended = np.cumsum(np.random.default_rng(0).exponential(0.01, 5000)).tolist()
    assert steady_rate(ended) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("ended", [[], [1.0], [1.0, 1.0]])
def test_no_rate_is_made_of_too_few_answers(ended: list[float]) -> None:
    """An error says so."""
    with pytest.raises(LoadError, match=f"{len(ended)} answers"):
        steady_rate(ended)
