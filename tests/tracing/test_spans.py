"""What the spans of a request tell, whatever the worker and the other requests of its batch do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan

from tests.tracing.bench import BEGUN_NS, Bench, Clock, links


def times(span: ReadableSpan) -> tuple[int, int]:
    """Of its beginning and end, in nanoseconds since the door's beginning."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time - BEGUN_NS, span.end_time - BEGUN_NS


def test_a_workers_stages_stand_at_the_end_of_its_attempt() -> None:
    """Of what they leave of it the batch has waited for its worker, as far as anybody knows."""
    clock = Clock()
    bench = Bench(clock)
    clock.now += 0.5
    attempt = bench.trace.attempt({}, ())
    clock.now += 0.25
    attempt.end("ok", {"decode": 0.0625, "inference": 0.125, "encode": 0.015625})
    spans = bench.spans()
    assert times(spans["attempt"]) == (500_000_000, 750_000_000)
    assert times(spans["decode"]) == (546_875_000, 609_375_000)
    assert times(spans["inference"]) == (609_375_000, 734_375_000)
    assert times(spans["encode"]) == (734_375_000, 750_000_000)


@given(st.lists(st.floats(0, 1e6), max_size=4), st.floats(0, 1e3))
def test_whatever_a_worker_says_its_stages_stay_within_the_attempt(
    stages_s: list[float], taken_s: float
) -> None:
    """One behind the other, none begins before the attempt or ends after it."""
    clock = Clock()
    bench = Bench(clock)
    attempt = bench.trace.attempt({}, ())
    clock.now += taken_s
    attempt.end("ok", {f"stage {number}": seconds for number, seconds in enumerate(stages_s)})
    spans = bench.spans()
    begun, ended = times(spans["attempt"])
    moments = [moment for number in range(len(stages_s)) for moment in times(spans[f"stage {number}"])]
    assert [begun, *moments, ended] == sorted([begun, *moments, ended])


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_a_mirrored_call_is_traced_when_its_cause_is(ratio: float) -> None:
    """It has a trace of its own, which links to that of the request; chance has no part in it."""
    for _ in range(20):
        bench = Bench(Clock(), ratio)
        cause = bench.trace
        mirror = cause.mirror({"attnserve.arm": "eca"})
        assert mirror.trace_id != cause.trace_id
        if cause.sampled:
            mirror.end({}, "")
            assert links(bench.spans()["mirror"]) == [cause.context]
            assert bench.spans()["mirror"].parent is None
            assert mirror.sampled


def test_what_comes_after_the_end_is_lost() -> None:
    """A caller may be gone before its batch is: nothing fails, and the other requests are told all."""
    bench = Bench(Clock())
    gone, stays = bench.request(), bench.trace
    gone.end({}, "cancelled")
    gone.tell({"attnserve.outcome": "ok"})
    stays.attempt({}, [gone]).end("ok", {})
    spans = bench.spans()
    assert links(spans["attempt"]) == [gone.context]
    assert spans["door"].attributes == {"error.type": "cancelled"}
    assert links(spans["door"]) == []
