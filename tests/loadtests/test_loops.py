"""When users ask: closed and open loops, without Locust."""

from __future__ import annotations

import time

import gevent
import pytest

from loadtests.swarm import clock
from loadtests.swarm.clock import now
from loadtests.swarm.loops import ClosedLoop, Loop, OpenLoop

SENT = list[tuple[float, float]]  # when due, when taken


def slot(loop: Loop, taken: SENT, way: str = "gRPC", seconds: float = 0.0) -> None:
    """A user whose every request takes so long."""
    loop.join(way)
    while (due := loop.wait(way)) is not None:
        taken.append((due, now()))
        gevent.sleep(seconds)
        loop.done()
    loop.leave(way)


def test_the_clock_goes_on_when_the_machines_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Unix time, and a step in Unix time does not move it."""
    assert now() == pytest.approx(time.time(), abs=1)
    before = now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= clock.now() < before + 60


def test_in_a_closed_loop_a_request_is_due_when_it_is_sent() -> None:
    """The loop is idle when none is under way, and sends nothing after its end."""
    told: list[float] = []
    loop = ClosedLoop(told.append)
    assert loop.idle.is_set()
    began = now()
    due = loop.wait("gRPC")
    assert due is not None
    assert began <= due <= now()
    assert told == [due]
    loop.end()
    assert not loop.idle.is_set()
    assert loop.wait("gRPC") is None
    loop.done()
    assert loop.idle.is_set()
    assert not loop.finished.is_set()


def test_in_an_open_loop_requests_are_due_as_planned_however_slow_their_answers_are() -> None:
    """One slot and answers that take longer than the gaps: each waits for all before, and its time counts."""
    told: list[float] = []
    taken: SENT = []
    loop = OpenLoop(told.append, "seed")
    user = gevent.spawn(slot, loop, taken, seconds=0.03)
    begin = now() + 0.05
    loop.begin(begin, iter([0.0, 0.01, 0.02, 0.03]))
    assert loop.finished.wait(30)
    user.join(30)
    assert user.successful()
    assert told == [due for due, _ in taken] == [begin + gap for gap in (0.0, 0.01, 0.02, 0.03)]
    assert all(sent >= due for due, sent in taken)
    assert taken[-1][1] >= begin + 0.09  # three answers of 30 ms came before it
    assert loop.waited >= 3
    assert loop.unsent == 0


def test_every_user_goes_home_when_all_has_arrived() -> None:
    """Also those that never had a request."""
    taken: SENT = []
    loop = OpenLoop(lambda _: None, "seed")
    users = [gevent.spawn(slot, loop, taken, way) for way in ("gRPC", "REST JSON") for _ in range(5)]
    loop.begin(now(), iter([0.0, 0.0, 0.0]))
    gevent.joinall(users, timeout=30)
    assert all(user.successful() for user in users)
    assert len(taken) == 3
    assert loop.idle.is_set()
    assert loop.known_until <= now()


def test_requests_wait_for_the_first_slot() -> None:
    """Those that arrive before any user can ask are not lost."""
    taken: SENT = []
    loop = OpenLoop(lambda _: None, "seed")
    loop.begin(now(), iter([0.0, 0.0]))
    gevent.sleep(0.02)
    assert not loop.finished.is_set()
    user = gevent.spawn(slot, loop, taken)
    assert loop.finished.wait(30)
    user.join(30)
    assert len(taken) == 2


def test_what_waits_at_the_end_is_counted_and_not_sent() -> None:
    """The one that is under way is waited for."""
    taken: SENT = []
    loop = OpenLoop(lambda _: None, "seed")
    user = gevent.spawn(slot, loop, taken, seconds=0.2)
    loop.begin(now(), iter([0.0, 0.0, 0.0, 3600.0]))
    while not taken:
        gevent.sleep(0.001)
    loop.end()
    assert loop.unsent == 2
    assert not loop.idle.is_set()
    assert loop.idle.wait(30)
    user.join(30)
    assert len(taken) == 1
    assert loop.wait("gRPC") is None
    assert loop.wait("REST JSON") is None


def test_what_is_known_ends_where_the_next_request_is_due() -> None:
    """Nobody may judge a second whose requests have not all been counted."""
    loop = OpenLoop(lambda _: None, "seed")
    begin = now() - 10
    loop.begin(begin, iter([0.0, 20.0]))  # no slot: the first is not handed out
    gevent.sleep(0.01)
    assert loop.known_until == begin
    loop.end()


def test_each_way_gets_the_share_of_its_slots() -> None:
    """One slot of four: of 2000 requests 500, give or take four standard deviations of a binomial (19.4)."""
    counts: dict[str, SENT] = {"gRPC": [], "REST JSON": []}
    loop = OpenLoop(lambda _: None, "seed")
    users = [gevent.spawn(slot, loop, counts[way], way) for way in ("gRPC", *["REST JSON"] * 3)]
    gevent.sleep(0)
    loop.begin(now(), iter([0.0] * 2000))
    gevent.joinall(users, timeout=30)
    assert sum(map(len, counts.values())) == 2000
    assert len(counts["gRPC"]) == pytest.approx(500, abs=78)
