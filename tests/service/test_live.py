"""What the live view is told, of metrics that a test moves; with a clock that it moves, too."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from serve import live
from serve.core import edits
from serve.core.designs import design_of
from serve.core.live import ArmPoint, EngineState, ModelPoint, Place, Quantiles
from serve.core.messages import ModelRef
from serve.experiment_metrics import ExperimentMetrics
from serve.live import EVERY_S, KEPT_POINTS, Clocks, Live
from serve.metrics import Metrics
from serve.series import observed_by, values_of

SE = ModelRef(name="digits_se", version="1")
NEWER = ModelRef(name="digits_se", version="2")
ECA = ModelRef(name="digits_eca", version="1")
AT = 1_700_000_000.0
IDLE = ModelPoint(
    requests_s=0, images_s=0, errors_s=0, latency=Quantiles(), batch_images=None, queue_images=0, inflight=0
)


@dataclass
class Stage:
    """Metrics, and a live view of them."""

    passed: float = 0.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.registry)
        self.experiments = ExperimentMetrics(self.registry)
        clocks = Clocks(monotonic=lambda: self.passed, now=lambda: AT + self.passed)
        self.live = Live(self.metrics, self.experiments, Place(), clocks)

    def ready(self, ref: ModelRef, *, is_ready: bool = True) -> None:
        """Load a model, or unload it."""
        self.metrics.start_model(ref)
        self.metrics.model_ready.labels(ref.name, ref.version).set(is_ready)

    def ends(self, ref: ModelRef, outcome: str = "ok", images: int = 1, seconds: float = 0.004) -> None:
        """A request ends."""
        self.metrics.requests.labels(ref.name, ref.version, "http", outcome).inc()
        self.metrics.images.labels(ref.name, ref.version, outcome).inc(images)
        self.metrics.request_duration.labels(ref.name, ref.version, "http").observe(seconds)

    def look(self, looks: int = 1) -> None:
        """Let time pass, with looks at the metrics."""
        for _ in range(looks):
            self.passed += EVERY_S
            self.live.look()

    def model(self, name: str = SE.name) -> ModelPoint:
        """What is told of a model now."""
        return self.live.since(0)[-1].models[name]

    def arms(self) -> dict[str, dict[str, ArmPoint]]:
        """What is told of arms now."""
        return {name: dict(arms) for name, arms in self.live.since(0)[-1].arms.items()}


@pytest.fixture
def stage() -> Stage:
    """One where nothing has happened."""
    return Stage()


def start(stage: Stage, name: str = "se-or-eca") -> None:
    """Let an experiment of two arms begin."""
    arms = [{"name": arm, "model": f"digits_{arm}", "version": "1", "weight": 5000} for arm in ("se", "eca")]
    stamp = edits.Stamp(author="anna", reason="why", created_at=0.0, effective_at=0.0)
    stage.experiments.start_experiment(
        edits.create(design_of({"name": name, "mode": "split", "arms": arms}), stamp)
    )


def test_what_ended_since_the_last_point_is_told_a_second(stage: Stage) -> None:
    """All versions of a model together; callers' own errors are no errors of ours."""
    for ref in (SE, NEWER):
        stage.ready(ref)
    stage.look()
    for outcome in ("ok", "ok", "timeout", "client_error"):
        stage.ends(SE, outcome, images=3)
    stage.ends(NEWER, images=4)
    stage.look()
    point = stage.model()
    assert (point.requests_s, point.images_s, point.errors_s) == (5 / EVERY_S, 10 / EVERY_S, 1 / EVERY_S)
    stage.look()
    assert (stage.model().requests_s, stage.model().images_s) == (0, 0)


def test_rates_are_over_the_time_that_has_passed(stage: Stage) -> None:
    """A look that comes late, as on a machine that is busy, finds no more than there was."""
    stage.ready(SE)
    for _ in range(30):
        stage.ends(SE)
    stage.passed += 8.0
    stage.look()
    assert stage.model().requests_s == pytest.approx(3.0)


def test_quantiles_are_of_the_last_ten_seconds(stage: Stage) -> None:
    """They stay while nothing comes, and go with what they were of."""
    stage.ready(SE)
    for _ in range(100):
        stage.ends(SE, seconds=0.004)
    stage.look()
    # 100 in the bucket from 3 to 5 ms: the 95th is 95 hundredths of the way.
    assert stage.model().latency.p95_ms == pytest.approx(4.9)
    stage.look(4)
    assert stage.model().latency.p50_ms == pytest.approx(4.0)
    stage.look()
    assert stage.model().latency == Quantiles()


def test_batches_and_what_waits_are_told(stage: Stage) -> None:
    """The mean size of the last batches; queue and requests in flight as they are now."""
    stage.ready(SE)
    for images in (2, 6, 7):
        stage.metrics.batch_images.labels(SE.name).observe(images)
    stage.metrics.queue_images.labels(SE.name).set(11)
    stage.metrics.inflight.labels(SE.name).set(4)
    stage.look()
    point = stage.model()
    assert (point.batch_images, point.queue_images, point.inflight) == (5.0, 11, 4)


def test_what_was_counted_before_is_no_news() -> None:
    """A view that begins later begins at nothing."""
    stage = Stage()
    stage.ready(SE)
    stage.ends(SE)
    clocks = Clocks(monotonic=lambda: stage.passed, now=lambda: AT)
    later = Live(stage.metrics, None, Place(), clocks)
    stage.passed += EVERY_S
    later.look()
    assert later.since(0)[-1].models == {SE.name: IDLE}


def test_models_come_and_go(stage: Stage) -> None:
    """A model is told of while it is ready, and as long as its last requests can be seen."""
    stage.look()
    assert stage.live.since(0)[-1].models == {}
    stage.ready(ECA)
    stage.ends(ECA)
    stage.look()
    assert stage.model(ECA.name).requests_s == 1 / EVERY_S
    stage.ready(ECA, is_ready=False)
    stage.look()
    assert ECA.name in stage.live.since(0)[-1].models
    stage.look(5)
    assert stage.live.since(0)[-1].models == {}


def test_requests_for_what_is_not_known_are_told(stage: Stage) -> None:
    """Under the name that the metrics give them, for as long as there are any."""
    stage.metrics.requests.labels("unknown", "", "http", "client_error").inc(2)
    stage.metrics.request_duration.labels("unknown", "", "http").observe(0.001)
    stage.look()
    assert stage.model("unknown").requests_s == 2 / EVERY_S


def test_an_experiment_is_told_of_while_it_is_live(stage: Stage) -> None:
    """Its arms are there before the first request, are gone at its end, and begin anew with the next."""
    start(stage)
    stage.look()
    idle = ArmPoint(requests_s=0, errors_s=0, latency=Quantiles())
    assert stage.arms() == {"se-or-eca": {"se": idle, "eca": idle}}
    for times in (5, 2):
        for _ in range(times):
            stage.experiments.requests.labels("se-or-eca", "eca", "ok", "hash").inc()
            stage.experiments.duration.labels("se-or-eca", "eca").observe(0.004)
        stage.experiments.requests.labels("se-or-eca", "eca", "unavailable", "fallback").inc()
        stage.look()
        found = stage.arms()["se-or-eca"]["eca"]
        assert (found.requests_s, found.errors_s) == ((times + 1) / EVERY_S, 1 / EVERY_S)
        assert found.latency.p50_ms == pytest.approx(4.0)
        stage.experiments.forget_experiment("se-or-eca")
        stage.look()
        assert stage.arms() == {}
        start(stage)
        stage.look()


def test_series_that_begin_anew_between_two_looks_are_counted_from_nothing(stage: Stage) -> None:
    """An experiment that ends and starts again has counters that are smaller than before."""
    start(stage)
    stage.experiments.requests.labels("se-or-eca", "se", "ok", "hash").inc(9)
    stage.look()
    stage.experiments.forget_experiment("se-or-eca")
    start(stage)
    stage.experiments.requests.labels("se-or-eca", "se", "ok", "hash").inc(4)
    stage.look()
    assert stage.arms()["se-or-eca"]["se"].requests_s == 4 / EVERY_S


def test_only_what_is_newer_is_given(stage: Stage) -> None:
    """In the order of time, and no more of them than asked for: the newest."""
    stage.look(5)
    numbers = [point.number for point in stage.live.since(0)]
    assert numbers == sorted(set(numbers))
    assert [point.number for point in stage.live.since(numbers[2])] == numbers[3:]
    assert [point.number for point in stage.live.since(0, most=2)] == numbers[3:]
    assert stage.live.since(numbers[-1]) == ()


def test_half_an_hour_is_kept(stage: Stage) -> None:
    """And no more, so that memory does not grow."""
    stage.look(KEPT_POINTS + 10)
    kept = stage.live.since(0)
    assert len(kept) == KEPT_POINTS
    assert kept[-1].at - kept[0].at == pytest.approx(1800, abs=EVERY_S)


def test_numbers_go_on_after_a_restart(stage: Stage) -> None:
    """Who asks a new process for what comes after the old one's last point is given the new ones."""
    stage.look(3)
    last = stage.live.since(0)[-1].number
    after = Stage(passed=stage.passed + 1)
    after.look()
    assert [point.number > last for point in after.live.since(last)] == [True]


def test_numbers_grow_where_the_clock_is_set_back(stage: Stage) -> None:
    """Else the view would wait until the clock had caught up."""
    stage.look()
    stage.passed -= 100
    stage.look(2)
    numbers = [point.number for point in stage.live.since(0)]
    assert numbers == sorted(set(numbers))


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What shows what is served must not end with a bug of its own; the gateway would end with it."""
    monkeypatch.setattr(live, "EVERY_S", 0.001)
    looks = itertools.count()

    def fails_once() -> float:
        if next(looks) == 1:
            raise ZeroDivisionError
        return AT

    watched = Live(Metrics(CollectorRegistry()), None, Place(), Clocks(now=fails_once, monotonic=lambda: 0.0))
    running = asyncio.create_task(watched.run())
    while len(watched.since(0)) < 3:  # noqa: ASYNC110  it has no event to tell
        await asyncio.sleep(0.001)
    running.cancel()
    assert next(looks) > 3


def test_engines_are_told_as_they_stand(stage: Stage) -> None:
    """With what each has been through, and the breaker of each model."""
    stage.metrics.start_engine("a:7070", SE.name)
    stage.metrics.start_engine("b:7070")
    stage.metrics.engine_ejected.labels("a:7070").set(0)
    stage.metrics.engine_breaker.labels(SE.name, "a:7070", "half_open").set(1)
    stage.metrics.engine_restarts.labels("a:7070").inc(2)
    stage.metrics.engine_retries.labels("a:7070").inc(3)
    assert stage.live.engines() == (
        EngineState(name="a:7070", ejected=False, restarts=2, retries=3, models={SE.name: "half_open"}),
        EngineState(name="b:7070", ejected=True, restarts=0, retries=0, models={}),
    )
    stage.metrics.forget_engine("a:7070")
    assert [engine.name for engine in stage.live.engines()] == ["b:7070"]


def test_series_are_read_as_the_library_tells_them(stage: Stage) -> None:
    """Values and buckets are those of its own `collect`, which is too slow to be called every two seconds."""
    for seconds in (0.0005, 0.004, 0.004, 2.5, 100.0):
        stage.ends(SE, seconds=seconds)
    (seen,) = (
        seen for labels, seen in observed_by(stage.metrics.request_duration).items() if labels[0] == SE.name
    )
    (family,) = stage.metrics.request_duration.collect()
    told = [sample for sample in family.samples if sample.labels["model"] == SE.name]
    below = [sample.value for sample in told if sample.name.endswith("_bucket")]
    assert [sum(seen.counts[: index + 1]) for index in range(len(seen.counts))] == below
    assert [seen.total] == [sample.value for sample in told if sample.name.endswith("_sum")]
    (requests,) = stage.metrics.requests.collect()
    assert values_of(stage.metrics.requests) == {
        tuple(sample.labels.values()): sample.value
        for sample in requests.samples
        if sample.name.endswith("_total")
    }
