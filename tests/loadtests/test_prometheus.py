"""A real Prometheus that scrapes a real gateway under load counts what Locust sent: to the request.

What was sent is taken from the requests one by one, not from any sum that the load test makes itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from loadtests.exchange import NO_ANSWER, PROTOCOLS
from loadtests.exchanges import Exchanges
from loadtests.running.execution import execute
from loadtests.running.plans import plan_of
from loadtests.running.sites import Site, opened
from loadtests.running.trial import Twins, running_trial
from loadtests.running.wish import Wish
from loadtests.stack import Target, running_stack
from tests.e2e.demo import Demo, build_demo
from tests.prometheus import running_prometheus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.needs_program("prometheus", how="apt install --no-install-recommends prometheus"),
]

START_TIMEOUT_S = 60.0
INTERVAL_S = 1
# So few that a dozen users who do not wait are shed again and again, however fast the machine is.
SETTINGS = {
    "ATTNSERVE_BATCHING_MAX_QUEUE_IMAGES": "6",
    "ATTNSERVE_BATCHING_MAX_BATCH_IMAGES": "2",
    "ATTNSERVE_EXPERIMENTS_POLL_INTERVAL_S": "0.2",
}
TOO_SHORT_MS = 0.1  # a deadline that no answer can keep


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running one."""

    url: str

    def sums(self, series: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Of a counter, by these labels, as a scrape finds it that begins after this call."""
        self._wait_for_a_scrape()
        found = self._query(f"sum by ({','.join(labels)}) ({series})")
        return Counter(
            {tuple(metric[label] for label in labels): int(float(value)) for metric, value in found}
        )

    def _wait_for_a_scrape(self) -> None:
        now, ends = time.time(), time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < ends:
            if any(float(value) > now for _, value in self._query("timestamp(process_start_time_seconds)")):
                return
            time.sleep(0.1)
        pytest.fail("prometheus does not scrape the gateway")

    def _query(self, text: str) -> list[tuple[dict[str, str], str]]:
        response = httpx.get(f"{self.url}/api/v1/query", params={"query": text}, trust_env=False, timeout=10)
        result = response.raise_for_status().json()["data"]["result"]
        return [(series["metric"], series["value"][1]) for series in result]


@contextmanager
def scraping(folder: Path, metrics: str) -> Iterator[Prometheus]:
    """One of our own that scrapes that page."""
    job = {"job_name": "attnserve", "static_configs": [{"targets": [urlsplit(metrics).netloc]}]}
    config = {"global": {"scrape_interval": f"{INTERVAL_S}s"}, "scrape_configs": [job]}
    with running_prometheus(folder, config) as url:
        yield Prometheus(url=url)


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="module")
def target(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway that nobody else asks."""
    settings = {"ATTNSERVE_MODEL_STORE": str(demo.archives), **SETTINGS}
    with running_stack(tmp_path_factory.mktemp("gateway"), settings) as stack:
        yield stack.target


@pytest.fixture(scope="module")
def prometheus(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes it."""
    with scraping(tmp_path_factory.mktemp("prometheus"), target.metrics) as running:
        yield running


def wish_for(target: Target, demo: Demo, workers: int = 0, deadline_ms: float = 0) -> Wish:
    """Three seconds of a dozen users who ask everything there is to ask."""
    return Wish(
        scenario="users",
        shape="3@12",
        host=target.http,
        grpc=target.grpc,
        metrics=target.metrics,
        samples=demo.samples,
        workers=workers,
        deadline_ms=deadline_ms,
        units=50,
        accuracy_floor=0,
        slo_for=1000,
    )


def load(wish: Wish, folder: Path, trial: str = "") -> Exchanges:
    """Carry it out, and give every request that was sent."""
    plan = plan_of(wish)
    with opened(wish, plan.scenario, print) as site:
        asked = site if not trial else of_trial(site, trial)
        run = execute(plan, wish, asked, folder).run
    assert run.differences == ()
    assert NO_ANSWER not in run.exchanges.outcome
    return run.exchanges


def of_trial(site: Site, name: str) -> Site:
    """The same, but an experiment is asked."""
    return Site(
        target=site.target,
        asked=(name,),
        models=site.models,
        samples=site.samples,
        max_batch=site.max_batch,
    )


def test_counts_agree_to_the_request(
    target: Target, prometheus: Prometheus, demo: Demo, tmp_path: Path
) -> None:
    """Answered, refused, shed and too late; over both protocols; from one process and from several."""
    series = ("attnserve_requests_total", "model", "protocol", "outcome")
    images_series = ("attnserve_images_total", "model", "outcome")
    before, images_before = prometheus.sums(*series), prometheus.sums(*images_series)
    requests, images = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for wish in (wish_for(target, demo, workers=2), wish_for(target, demo, deadline_ms=TOO_SHORT_MS)):
        run = load(wish, tmp_path / f"{wish.workers} workers")
        columns = (run.served, run.model, run.way, run.outcome, run.images)
        for served, model, way, outcome, number in zip(*columns, strict=True):
            requests[served or model, PROTOCOLS[way], outcome] += 1
            images[served or model, outcome] += int(number)
    assert prometheus.sums(*series) - before == requests
    assert prometheus.sums(*images_series) - images_before == images
    assert {"ok", "client_error", "shed", "timeout"} <= {outcome for _, _, outcome in requests}
    assert {protocol for _, protocol, _ in requests} == {"grpc", "http"}


def test_an_experiments_counts_agree_to_the_request(
    target: Target, prometheus: Prometheus, demo: Demo, tmp_path: Path
) -> None:
    """By arm where the reply names it, which is where there is an answer; and all in all."""
    with running_trial(target.http, "", Twins(model="digits_se"), print) as trial:
        run = load(wish_for(target, demo), tmp_path, trial.name)
        series = f'attnserve_experiment_requests_total{{experiment="{trial.name}"}}'
        by_arm = prometheus.sums(series, "arm", "outcome")
    answered = Counter((arm, "ok") for arm in run.arm[run.outcome == "ok"])
    assert {key: count for key, count in by_arm.items() if key[1] == "ok"} == answered
    assert len(answered) == 2
    assert by_arm.total() == len(run)
