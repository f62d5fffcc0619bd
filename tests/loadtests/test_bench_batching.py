"""What learning the batch size and handing batches ahead is worth, under the gateway's own rule."""

from __future__ import annotations

import pytest

from loadtests.bench_batching import CURVES, LOADS, Curve, Load, compared, simulate

CPU, GPU, TRIVIAL = CURVES.values()


def test_a_lone_caller_waits_for_nobody() -> None:
    """By hand: the way, the batch's time, and the caller's own pause of 1.5 ms; batches vary by 5 %."""
    for curve in CURVES.values():
        for outcome in compared(curve, Load(callers=1)):
            assert outcome.p50_ms == pytest.approx(curve.way_ms + curve.work_ms(1), rel=0.02)
            assert outcome.rate == pytest.approx(1e3 / (curve.way_ms + curve.work_ms(1) + 1.5), rel=0.03)
            assert outcome.batch == 1


def test_a_worker_that_never_waits_does_what_it_can() -> None:
    """At 64 callers every batch of the plain rule is full: 16 images in the time of a batch of 16."""
    for curve in CURVES.values():
        assert simulate(curve, Load(callers=64), learns=False).rate == pytest.approx(curve.capacity, rel=0.02)


@pytest.mark.parametrize("curve", [GPU, TRIVIAL])
@pytest.mark.parametrize("callers", [2, 8])
def test_handing_ahead_pays_for_few_callers(curve: Curve, callers: int) -> None:
    """Where a batch takes hardly longer than its way: 15 % more images a second or better, in less time."""
    plain, learned = compared(curve, Load(callers=callers))
    assert learned.rate >= 1.15 * plain.rate
    assert learned.p99_ms <= plain.p99_ms


def test_shorter_batches_pay_where_every_image_takes_its_time() -> None:
    """On a CPU near saturation the p99 is a tenth lower or better."""
    plain, learned = compared(CPU, Load(share=0.9))
    assert learned.p99_ms <= 0.9 * plain.p99_ms
    assert learned.batch < plain.batch


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("load", LOADS, ids=str)
def test_it_is_nowhere_much_worse(name: str, load: Load) -> None:
    """Throughput within 2 %, p50 within 3 %, p99 within 8 % or better, on every curve at every load."""
    plain, learned = compared(CURVES[name], load)
    assert learned.rate >= 0.98 * plain.rate
    assert learned.p50_ms <= 1.03 * plain.p50_ms
    assert learned.p99_ms <= 1.08 * plain.p99_ms
