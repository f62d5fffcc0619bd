"""What batches may take: the estimator of RFC 6298, who is slow, and how fast a queue drains."""

from __future__ import annotations

import pytest

from serve.core.pace import Estimate, Pace, Throughput, is_slow, patience


def pace(*samples: float, images: int = 4) -> Pace:
    """What is known after batches that took so long."""
    made = Pace()
    for sample in samples:
        made.add(images, sample)
    return made


def test_the_estimator_is_that_of_tcp() -> None:
    """RFC 6298, (2.2): SRTT = R, RTTVAR = R/2; (2.3): gains 1/8 and 1/4, RTTVAR first; SRTT + 4 RTTVAR."""
    srtt, rttvar = 0.100, 0.050
    estimate = Estimate(srtt, rttvar)
    for sample in (0.120, 0.080, 0.300):
        estimate = estimate.plus(sample)
        rttvar = (1 - 1 / 4) * rttvar + 1 / 4 * abs(srtt - sample)
        srtt = (1 - 1 / 8) * srtt + 1 / 8 * sample
    assert (estimate.mean, estimate.deviation) == pytest.approx((srtt, rttvar))
    assert estimate.upper == pytest.approx(srtt + 4 * rttvar)


def test_patience_goes_by_the_fastest_engine() -> None:
    """A slow one does not make the others wait; nothing known means no patience to lose; a floor holds."""
    fast, slow = pace(*[1.0] * 50), pace(*[20.0] * 50)
    assert patience([slow, fast], 4, 0.1) == pytest.approx(2.0, rel=0.01)
    assert patience([fast], 4, 5.0) == 5.0
    assert patience([Pace()], 4, 1.0) is None
    assert patience([], 4, 1.0) is None


def test_a_larger_batch_speaks_for_a_smaller_one() -> None:
    """The other way round twice the images take twice as long at most: an engine may hang with the first."""
    known = pace(*[1.0] * 50, images=16)
    assert patience([known], 1, 0.1) == patience([known], 9, 0.1) == pytest.approx(2.0, rel=0.01)
    assert patience([known], 17, 0.1) == pytest.approx(4.0, rel=0.01)


def test_who_is_slow() -> None:
    """Much slower than the fastest of the others on batches of the same size, and noticeably so."""
    fast, slow = pace(*[0.1] * 5), pace(*[2.0] * 5)
    assert is_slow(slow, [fast, slow], 4, 4.0)
    assert not is_slow(fast, [slow], 4, 4.0)
    assert not is_slow(slow, [], 4, 4.0), "alone it cannot be slower than others"
    assert not is_slow(slow, [pace(0.1, images=1)], 4, 4.0), "what one image takes says nothing of four"
    assert not is_slow(pace(*[0.04] * 5), [pace(*[0.001] * 5)], 4, 4.0), "nobody would notice"
    assert not is_slow(pace(2.0), [fast], 4, 4.0), "once is chance"


def test_a_queue_drains_as_fast_as_batches_end() -> None:
    """Under load: the seconds between the ends for each batch, and a quarter more for all but the last."""
    throughput, now = Throughput(16), 0.0
    assert throughput.wait_s(100, now) == 0
    for _ in range(100):
        now += 1.0
        throughput.released(16)
        throughput.ended(16, now, backlog=True)
    assert throughput.wait_s(16, now) == pytest.approx(1.0)
    assert throughput.wait_s(160, now) == pytest.approx(1.25 * 9 + 1.0)
    throughput.released(16)
    throughput.released(16)
    assert throughput.wait_s(16, now) == pytest.approx(3.0), "what the engines have in hand comes first"
    assert throughput.wait_s(16, now + 0.5) == pytest.approx(2.5), "less the time that they have had for it"


def test_a_pause_says_nothing_about_the_engines() -> None:
    """Seconds in which nothing waited are not counted."""
    throughput = Throughput(16)
    for now in (1.0, 2.0, 3.0):
        throughput.released(1)
        throughput.ended(1, now, backlog=now < 3.0)
    before = throughput.wait_s(1, 3.0)
    throughput.released(1)
    throughput.ended(1, 1000.0, backlog=True)
    assert throughput.wait_s(1, 1000.0) == before == 1.0


def test_sizes_speak_for_each_other() -> None:
    """An unknown size takes no more than a larger one, and no more than several smaller ones."""
    known = pace(2.0, images=4)
    known.add(16, 6.0)
    assert [known.mean(images) for images in (0, 1, 4, 8, 16, 64)] == [0.0, 2.0, 2.0, 4.0, 6.0, 24.0]
    assert Pace().mean(4) == 0.0
    assert known.fastest() == 2.0


def test_old_figures_are_forgotten() -> None:
    """A size of which none came for a while is judged by the others, whether it looked slow or quick."""
    known = Pace(memory=8)
    known.add(16, 100.0)
    for _ in range(7):
        known.add(4, 1.0)
    assert known.mean(16) == 100.0
    known.add(4, 1.0)
    assert known.mean(16) == 4.0
