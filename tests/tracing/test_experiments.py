"""What a trace tells of experiments: who answered, and in traces of their own what nobody waited for."""

from __future__ import annotations

import asyncio

import pytest

from serve.core.assignment import Assigner
from serve.core.call import Call
from serve.core.errors import EngineError
from serve.core.experiment import Experiment, Mode
from serve.experiments.plans import Standing
from serve.inference import Progress
from tests.experiments.trial_house import ARM, TrialHouse, design_of, running, unit_for
from tests.service.house import REF, request_of
from tests.service.virtual_time import clock, in_virtual_time
from tests.tracing.bench import Bench, links


async def ask(house: TrialHouse, experiment: Experiment, bench: Bench, unit: str) -> None:
    """A traced request to the experiment, until whatever it caused has ended."""
    request = request_of((b"a",), model=experiment.name, parameters={"unit": unit})
    call = Call(protocol="grpc", trace=bench.trace)
    await house.trials.infer(
        Standing(experiment, Assigner(experiment)), request, call, Progress(started=clock())
    )
    bench.trace.end({})
    await asyncio.sleep(5)


def exemplars(house: TrialHouse) -> set[tuple[str, str]]:
    """Arms, and the traces that the buckets of their durations name."""
    return {
        (sample.labels["arm"], sample.exemplar.labels["trace_id"])
        for metric in house.registry.collect()
        for sample in metric.samples
        if metric.name == "attnserve_experiment_duration_seconds" and sample.exemplar
    }


@in_virtual_time
async def test_a_split_request_tells_which_arm_answered() -> None:
    """Its span names experiment and arm; the arm's histogram names its trace."""
    house, bench, experiment = TrialHouse(), Bench(clock), running(design_of())
    await ask(house, experiment, bench, unit_for(experiment, 1))
    door = bench.spans()["door"].attributes
    assert door == {"attnserve.experiment": "trial", "attnserve.arm": "eca"}
    assert exemplars(house) == {("eca", bench.trace.trace_id)}


@in_virtual_time
async def test_a_mirrored_call_has_a_trace_of_its_own() -> None:
    """It links to the request's, has its own wait and attempt, and says how it ended."""
    house, bench, experiment = TrialHouse(), Bench(clock), running(design_of(Mode.SHADOW))
    house.arm_engine.fail_next(EngineError("planted", reason="refused", retryable=False))
    await ask(house, experiment, bench, "u")
    spans = bench.spans()
    mirror = spans["mirror"]
    assert links(mirror) == [bench.trace.context]
    assert mirror.attributes == {
        "attnserve.experiment": "trial",
        "attnserve.arm": "eca",
        "attnserve.outcome": "unavailable",
        "error.type": "unavailable",
    }
    assert spans["door"].attributes == {"attnserve.experiment": "trial", "attnserve.arm": "se"}
    context = mirror.get_span_context()
    assert context is not None
    own = [span for span in bench.all() if span.parent == context]
    assert sorted(span.name for span in own) == ["attempt", "queue"]
    tried = [span.attributes or {} for span in bench.all() if span.name == "attempt"]
    assert [facts["attnserve.model.name"] for facts in tried] == [REF.name, ARM.ref.name]
    assert exemplars(house) == {("se", bench.trace.trace_id), ("eca", f"{context.trace_id:032x}")}


@in_virtual_time
async def test_a_mirrored_call_that_is_given_up_does_not_say_that_it_went_well() -> None:
    """Where the gateway ends before the arm has answered, nobody knows how it would have gone."""
    house, bench, experiment = TrialHouse(), Bench(clock), running(design_of(Mode.SHADOW))
    house.arm_engine.hang()
    await ask(house, experiment, bench, "u")
    await house.trials.close()
    house.arm_engine.wake()
    await asyncio.sleep(1)
    mirror = bench.spans()["mirror"]
    assert (mirror.attributes or {})["attnserve.outcome"] == "cancelled"
    assert mirror.status.is_unset


@in_virtual_time
async def test_a_bug_in_an_attempt_is_no_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for failures finds its span."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    house, bench, experiment = TrialHouse(), Bench(clock), running(design_of())
    monkeypatch.setattr(house.arm_engine, "predict", broken)
    await ask(house, experiment, bench, unit_for(experiment, 1))
    tried = [span.attributes or {} for span in bench.all() if span.name == "attempt"]
    assert [facts["attnserve.outcome"] for facts in tried] == ["internal", "ok"], "the control falls in"
    assert tried[0]["error.type"] == "internal"
