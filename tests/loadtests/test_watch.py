"""Watching the gateway: what a scrape says, when it is done, and what becomes of one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from loadtests.outcome import ModelCounters
from loadtests.running import watch as watch_module
from loadtests.running.watch import watching
from serve.core.batching import Reason
from serve.core.messages import ModelRef, Timings
from serve.metrics import Metrics
from serve.metrics_port import MetricsPort

PATIENCE_S = 30.0


@pytest.fixture
def metrics() -> Metrics:
    """A gateway's, with models whose names are alike."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    found = Metrics(registry)
    for name in ("digits", "digits_se", "digits.se"):
        found.start_model(ModelRef(name=name, version="1"))
    return found


@pytest.fixture
def url(metrics: Metrics) -> Iterator[str]:
    """Of the page that the gateway's own metrics port shows."""
    port = MetricsPort("127.0.0.1", 0, metrics.registry)
    yield f"http://127.0.0.1:{port.number}/metrics"
    port.close()


@contextmanager
def page_of(answer: bytes, status: int = 200) -> Iterator[str]:
    """A server that gives one answer, whatever series it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def work(metrics: Metrics) -> ModelCounters:
    """Let "digits" have done something, its namesakes something else; gives what must be said of it."""
    for images in (3, 5):
        metrics.observe_batch("digits", images, Reason.FULL)
        metrics.observe_timings("digits", Timings(decode_s=0.25, inference_s=0.5, encode_s=0.125))
    for seconds in (0.5, 1.0, 2.0):
        metrics.stage_duration.labels("digits", "queue").observe(seconds)
    metrics.queue_images.labels("digits").set(7)
    metrics.inflight.labels("digits").set(4)
    for other in ("digits_se", "digits.se"):
        metrics.observe_batch(other, 100, Reason.FULL)
    return ModelCounters(
        batches=2,
        batched_images=8,
        queue_s=3.5,
        queue_requests=3,
        inference_s=1.0,
        inference_batches=2,
        handler_s=1.75,
        queued_images=7,
        inflight=4,
    )


def test_the_load_lies_between_the_first_and_the_last_scrape(metrics: Metrics, url: str) -> None:
    """What was counted meanwhile is their difference, and only the models asked for are there."""
    with watching(url, ["digits"]) as watch:
        expected = work(metrics)
    first, last = watch.snapshots[0], watch.snapshots[-1]
    assert first.models == {"digits": ModelCounters()}
    assert last.models == {"digits": expected}
    assert first.at < last.at
    assert first.gateway_rss > 1e6
    assert 0 < first.gateway_cpu_s <= last.gateway_cpu_s
    assert watch.missed == 0


def test_a_page_that_shows_everything_says_the_same(metrics: Metrics) -> None:
    """Who answers with all series, though few were asked for, is understood; names are no patterns."""
    expected = work(metrics)
    with page_of(generate_latest(metrics.registry)) as url, watching(url, ["digits", "digits.se"]) as watch:
        pass
    assert watch.snapshots[-1].models == {
        "digits": expected,
        "digits.se": ModelCounters(batches=1, batched_images=100),
    }


def test_it_scrapes_again_and_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first and the last there are more, an interval apart."""
    monkeypatch.setattr(watch_module, "INTERVAL_S", 0.2)
    with watching(url, ["digits"]) as watch:
        ends = time.monotonic() + PATIENCE_S
        while len(watch.snapshots) <= 2 and time.monotonic() < ends:
            time.sleep(0.01)
    times = [snapshot.at for snapshot in watch.snapshots]
    assert len(times) >= 4
    # The last one comes when the load has ended, whenever that is.
    assert min(later - earlier for earlier, later in pairwise(times[:-1])) > 0.1


@pytest.mark.parametrize(("answer", "status"), [(b"<html>hello</html>", 200), (b"", 500)])
def test_a_scrape_that_fails_is_left_out_and_counted(answer: bytes, status: int) -> None:
    """Another page, or an error: no figures are made of it."""
    with page_of(answer, status) as url, watching(url, ["digits"]) as watch:
        pass
    assert (watch.snapshots, watch.missed) == ((), 2)


def test_a_gateway_that_is_gone_ends_nothing(metrics: Metrics) -> None:
    """What was read before stays."""
    port = MetricsPort("127.0.0.1", 0, metrics.registry)
    with watching(f"http://127.0.0.1:{port.number}/metrics", ["digits"]) as watch:
        port.close()
    assert (len(watch.snapshots), watch.missed) == (1, 1)
