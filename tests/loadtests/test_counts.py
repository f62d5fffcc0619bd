"""Counting: what was sent, what the gateway counted, and the rate of answers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from handlers.attn_decode import Decoder, ImageError, ImageLimits, check_pixels
from loadtests.bench.generator import LoadError, steady_rate
from loadtests.exchange import GRPC, NO_ANSWER, REST_JSON, Exchange
from loadtests.scrape import Scrape
from loadtests.tally import Kind, Tally, differences, grpc_outcome, http_outcome
from serve.core import messages
from serve.core.batching import Limits
from serve.core.errors import OverloadedError, TooLargeError
from serve.core.lane import Lane
from serve.core.messages import Items, ModelRef
from serve.core.query import Query
from serve.core.ratelimit import RateLimiter
from serve.core.room import Room
from serve.core.ticket import Ticket
from serve.edge.proto_bounds import check_bounds
from serve.edge.status import STATUSES
from serve.metrics import OUTCOME_LABELS, Metrics
from serve.pb import open_inference_pb2 as pb

UNANSWERED = Exchange(due=1.0, sent=1.0, ended=2.0, way=GRPC, kind="one image", model="digits_se")


def test_a_tally_survives_its_file() -> None:
    """Workers send theirs to Locust's master, which writes the sums; the runner reads them."""
    first, second = Tally(), Tally()
    first.add(replace(UNANSWERED, served="digits_se", outcome="ok", right=3, judged=4))
    first.receipts["accepted"] += 2
    second.add(replace(UNANSWERED, served="digits_se", outcome="ok", right=1, judged=1))
    second.add(replace(UNANSWERED, model="digits_sk", way=REST_JSON))
    second.receipts.update(["accepted", "duplicate"])
    total = Tally()
    for tally in (first, second):
        total.merge(Tally.of_json(json.loads(json.dumps(tally.as_json()))))
    assert total.accuracy == pytest.approx(0.8)
    assert total.requests == {Kind("digits_se", "grpc", "ok"): 2, Kind("digits_sk", "http", NO_ANSWER): 1}
    assert total.receipts == {"accepted": 3, "duplicate": 1}


def test_an_experiments_requests_count_for_the_arms() -> None:
    """As the gateway counts them; one that nobody answered counts for the name that was asked."""
    tally = Tally()
    tally.add(replace(UNANSWERED, model="trial", served="digits_se", arm="control", outcome="ok"))
    tally.add(replace(UNANSWERED, model="trial", served="digits_sk", arm="treatment", outcome="ok"))
    tally.add(replace(UNANSWERED, model="trial", outcome="client_error"))
    assert tally.requests == {
        Kind("digits_se", "grpc", "ok"): 1,
        Kind("digits_sk", "grpc", "ok"): 1,
        Kind("trial", "grpc", "client_error"): 1,
    }


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


def test_an_end_that_was_not_seen_may_have_been_counted_once_under_any_outcome() -> None:
    """Not twice, not under the other protocol, and never instead of one that was seen."""
    ok, unseen = Kind("m", "grpc", "ok"), Kind("m", "grpc", NO_ANSWER)
    ours = Counter({ok: 5, unseen: 2})
    for theirs in (
        {ok: 5},
        {ok: 7},
        {ok: 6, Kind("m", "grpc", "cancelled"): 1},
        {ok: 5, Kind("m", "grpc", "timeout"): 2},
    ):
        assert differences(ours, Counter(theirs)) == []
    cancelled = Kind("m", "grpc", "cancelled")
    assert differences(ours, Counter({ok: 6, cancelled: 2})) == [
        "m grpc cancelled: sent 0, the gateway counted 2, and 2 ended unseen",
        "m grpc ok: sent 5, the gateway counted 6, and 2 ended unseen",
    ]
    assert differences(ours, Counter({ok: 4, cancelled: 1})) == [
        "m grpc ok: sent 5, the gateway counted 4, and 2 ended unseen"
    ]
    assert differences(ours, Counter({ok: 5, Kind("m", "http", "ok"): 1})) == [
        "m http ok: sent 0, the gateway counted 1"
    ]


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline of 0.100 s passed before", "timeout"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", NO_ANSWER),
        (grpc.StatusCode.CANCELLED, "CANCELLED", NO_ANSWER),
        (grpc.StatusCode.UNAVAILABLE, "the server is shutting down", "unavailable"),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: ...", NO_ANSWER),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "model 'm': 16 images wait, at most 16 may", "shed"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (9 vs. 8)",
            NO_ANSWER,
        ),
    ],
)
def test_what_grpc_itself_says_is_no_word_of_the_gateway(
    code: grpc.StatusCode, message: str, outcome: str
) -> None:
    """The gateway counts what it has answered; of the rest nobody can say what it has seen."""
    assert grpc_outcome(code, message) == outcome


def test_every_status_of_the_gateway_has_one_of_its_outcomes() -> None:
    """Nothing that it can tell a caller would be counted as no answer; nothing else as an answer."""
    http = {http_outcome(status.http) for status in STATUSES.values()}
    assert http == set(OUTCOME_LABELS) - {"ok"}
    # gRPC's library tells of a call that was cancelled, since the gateway cannot.
    assert {grpc_outcome(status.grpc, "") for status in STATUSES.values()} == http - {"cancelled"} | {
        NO_ANSWER
    }
    assert grpc_outcome(grpc.StatusCode.OK, "") == http_outcome(200) == "ok"
    assert grpc_outcome(grpc.StatusCode.INVALID_ARGUMENT, "") == http_outcome(400) == "client_error"
    assert grpc_outcome(grpc.StatusCode.DATA_LOSS, "") == http_outcome(0) == NO_ANSWER


class Silent(grpc.GenericRpcHandler):
    """Takes every call and never answers; it is let go with the test."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._wait)

    def _wait(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        self.over.wait()
        return b""


@pytest.fixture
def silent() -> Iterator[str]:
    """host:port of a server that takes ten bytes at most and never answers."""
    handler = Silent()
    server = grpc.server(ThreadPoolExecutor(2), [handler], options=[("grpc.max_receive_message_length", 10)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    handler.over.set()
    server.stop(None).wait()


def ended(address: str, message: bytes, timeout_s: float) -> tuple[grpc.StatusCode, str]:
    """How a call went that no gateway answered, by what gRPC's library says."""
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/a/b", bytes, bytes)(message, timeout=timeout_s)
    return error.value.code(), error.value.details() or ""


def test_what_the_library_ends_is_no_answer(silent: str) -> None:
    """A server that is silent, or not there, and a message that it never hears of: nobody counts them."""
    for code, words in (
        ended(silent, b"", 0.2),
        ended(silent, bytes(11), 20.0),
        ended("127.0.0.1:1", b"", 20.0),
    ):
        assert grpc_outcome(code, words) == NO_ANSWER
        assert grpc_outcome(code, "the gateway's own words") != NO_ANSWER


def too_many_pixels() -> None:
    """Ask for a picture of a billion."""
    check_pixels(40_000, 25_000, ImageLimits())


def too_many_bytes() -> None:
    """Ask for a file that is longer than allowed."""
    Decoder(ImageLimits(max_image_bytes=3)).decode(b"four")


def too_many_fields() -> None:
    """Ask for twenty thousand tensors."""
    request = pb.ModelInferRequest(outputs=[{"name": "label"}] * 20_000)
    check_bounds(pb.ModelInferRequest, request.SerializeToString())


def too_many_at_once() -> None:
    """Ask for more images than five seconds' worth."""
    RateLimiter(lambda _name: 1.0).take("caller", 6, 0.0)


def too_many_a_second() -> None:
    """Ask again right after the bucket was emptied."""
    limiter = RateLimiter(lambda _name: 1.0)
    limiter.take("caller", 5, 0.0)
    limiter.take("caller", 1, 0.0)


def full_queue() -> None:
    """Ask for two images where one waits and one may."""
    query = Query(
        ref=ModelRef(name="digits_se", version="1"),
        request_id="",
        items=Items(kind=messages.Kind.IMAGE, blobs=(b"",)),
        outputs=(),
        wants=frozenset(),
    )
    lane = Lane(Limits(max_batch=1, max_queue_images=1), lambda _change: None)
    for _ in range(2):
        lane.add(Ticket(query=query, arrived=0.0, deadline=1.0, end=lambda _error: None))


def no_room() -> None:
    """Ask while the bytes of others fill the server."""
    Room(10).share().take(11)


@pytest.mark.parametrize("ask", [too_many_pixels, too_many_bytes, too_many_fields, too_many_at_once])
def test_too_large_is_the_callers_fault_over_grpc_too(ask: Callable[[], None]) -> None:
    """GRPC's code is the one of requests that are shed; the gateway's own words tell them apart."""
    with pytest.raises((TooLargeError, ImageError)) as refused:
        ask()
    assert grpc_outcome(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused.value)) == "client_error"


@pytest.mark.parametrize("ask", [too_many_a_second, full_queue, no_room])
def test_a_request_that_is_shed_is_told_apart(ask: Callable[[], None]) -> None:
    """It says that others were there first, not that it is too large."""
    with pytest.raises(OverloadedError) as refused:
        ask()
    assert grpc_outcome(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused.value)) == "shed"


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
