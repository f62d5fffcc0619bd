"""Rows, the timeline, and what the gateway's metrics add to it: every request in its place, once."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.exchanges import Exchanges
from loadtests.outcome import ModelCounters, Snapshot
from loadtests.report.gateway import changes, cores, gateway_points, means
from loadtests.report.rows import groups, rows
from loadtests.report.timeline import MOST_BINS, Bins, timeline
from loadtests.report.windows import Bootstrap, Span, Windows
from tests.loadtests.made_run import BEGAN, arrivals, exchanges, in_arm, together

SPAN = Span(begins=BEGAN, ends=BEGAN + 20)
BINS = Bins.of([SPAN])


def mixed() -> Exchanges:
    """Two arms, of which one is served by another model, and a request that nobody answered."""
    a, b = (exchanges(arrivals(50, 20, seed), 20.0) for seed in (1, 2))
    lost = exchanges(np.array([BEGAN + 3.5]), 900.0, np.ones(1, np.bool_))
    lost = replace(lost, served=np.array([""], object), model=np.array(["trial"], object))
    other = replace(in_arm(b, "new"), served=np.full(len(b), "letters", object))
    return together(in_arm(a, "old"), other, lost)


def test_every_request_is_in_one_row_of_each_group() -> None:
    """The rows of ways, of models and of kinds add up to all; those of arms to the requests that have one."""
    made = mixed()
    found = rows(groups(made), Bootstrap.of(Windows.of([SPAN])))
    totals = {
        group: sum(row.requests for row in found if row.group == group)
        for group in ("all", "way", "model", "kind", "arm")
    }
    n = len(made)
    assert totals == {"all": n, "way": n, "model": n, "kind": n, "arm": n - 1}
    assert [row.name for row in found if row.group == "model"] == ["digits", "letters", "trial"]
    assert [(row.name, row.failures) for row in found if row.group == "all"] == [("all", 1)]


def test_service_time_leaves_out_the_wait_to_be_sent() -> None:
    """Both clocks end with the reply; one starts when a request is due, the other when it is sent."""
    row = rows(groups(exchanges(arrivals(50, 20, 3), 20.0)), Bootstrap.of(Windows.of([SPAN])))[0]
    response, service = ({one.name: one.value for one in side} for side in (row.response, row.service))
    assert response["p50"] == pytest.approx(20, rel=1e-3)
    assert service["p50"] == pytest.approx(15, rel=1e-3)
    assert set(response) - set(service) == {"throughput", "failures"}


@given(st.lists(st.floats(0, 19.99), min_size=1, max_size=200), st.floats(1, 5000))
@settings(max_examples=30)
def test_the_timeline_counts_every_request(at: list[float], waited: float) -> None:
    """Arrivals and failures of all bins add up to the run's; replies to those that came before its end."""
    due = BEGAN + np.sort(np.array(at))
    made = exchanges(due, waited, np.arange(len(due)) % 3 == 0)
    points = [point for point in timeline(tuple(groups(made)), BINS, BEGAN) if point.group == "all"]
    assert sum(point.offered for point in points) * BINS.width == pytest.approx(len(due))
    assert sum(point.failed for point in points) == np.count_nonzero(made.failed)
    in_time = np.count_nonzero(~made.failed & (made.ended < SPAN.ends))
    assert sum(point.answered for point in points) * BINS.width == pytest.approx(in_time)


@pytest.mark.parametrize(("seconds", "bins"), [(0.5, 1), (20, 20), (45.5, 45), (3600, MOST_BINS)])
def test_bins_are_a_second_or_longer_and_not_too_many(seconds: float, bins: int) -> None:
    """They cover the load from its begin to its end, in equal parts."""
    found = Bins.of([Span(begins=BEGAN, ends=BEGAN + seconds)])
    assert [found.count, found.width * found.count] == pytest.approx([bins, seconds])


def test_a_point_has_the_percentiles_of_the_requests_due_in_it() -> None:
    """Numpy's of each second; none of percentiles with fewer than two requests beyond them."""
    due = arrivals(60, 20, 4)
    made = exchanges(due, np.random.default_rng(5).exponential(20, len(due)))
    points = [point for point in timeline(tuple(groups(made)), BINS, BEGAN) if point.group == "all"]
    for second, point in enumerate(points):
        waited = made.response_ms[np.floor(made.due - BEGAN) == second]
        assert point.at == second + 0.5
        assert point.p50 == np.quantile(waited, 0.5, method="inverted_cdf")
        assert point.p90 == np.quantile(waited, 0.9, method="inverted_cdf")
        assert (point.p99, point.p999) == (None, None)


def test_kinds_have_no_timeline() -> None:
    """It shows all requests, ways, models and arms."""
    assert {point.group for point in timeline(tuple(groups(mixed())), BINS, BEGAN)} == {
        "all",
        "way",
        "model",
        "arm",
    }


def snapshot(at: float, batches: float, cpu_s: float = 0.0) -> Snapshot:
    """Batches of 3 images from 2 requests, each of which waited 4 ms; 5 ms in the net, 7 in the handler."""
    counters = ModelCounters(
        batches=batches,
        batched_images=3 * batches,
        queue_s=0.008 * batches,
        queue_requests=2 * batches,
        inference_s=0.005 * batches,
        inference_batches=batches,
        handler_s=0.007 * batches,
        queued_images=at,
    )
    return Snapshot(
        at=BEGAN + at,
        models=MappingProxyType({"digits": counters}),
        gateway_cpu_s=cpu_s,
        gateway_rss=1e8,
    )


def test_differences_of_counters_become_means() -> None:
    """What the gateway had counted before the first scrape is no part of any."""
    found = changes([snapshot(at + 0.25, 1000 + 40 * at, cpu_s=90 + at / 2) for at in range(6)])
    mean = means(found)
    shown = [mean.batch, mean.queue_ms, mean.inference_ms, mean.handler_ms]
    assert np.array(shown, np.float64) == pytest.approx([3, 4, 5, 7])
    assert cores(found) == pytest.approx(0.5)
    points = gateway_points(found, BINS, BEGAN)
    assert [(point.model, point.at) for point in points] == [("digits", at + 0.5) for at in range(5)]
    assert points[0].queued_images == 1.25


def test_a_gateway_that_started_anew_leaves_a_gap() -> None:
    """Counters that fell say nothing of that second; a second without batches has no means."""
    found = changes([snapshot(0.1, 50), snapshot(1.1, 90), snapshot(2.1, 7), snapshot(3.1, 7)])
    points = gateway_points(found, BINS, BEGAN)
    assert [point.at for point in points] == [0.5, 2.5]
    assert points[0].mean_batch == pytest.approx(3)
    assert points[1].mean_batch is None
    assert cores([]) is None
