"""The series of experiments: there from the start, and gone with the experiment."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from serve.core import edits
from serve.core.designs import design_of
from serve.core.experiment import Experiment
from serve.core.verdict import Verdict
from serve.experiment_metrics import ExperimentMetrics

STAMP = edits.Stamp(author="anna", reason="why", created_at=0.0, effective_at=0.0)


def experiment(mode: str = "split") -> Experiment:
    """A draft of two arms."""
    arms = [
        {"name": name, "model": f"digits_{name}", "version": "1", "weight": 5000} for name in ("se", "eca")
    ]
    guardrails = [{"metric": "error_rate"}]
    return edits.create(
        design_of({"name": "se-or-eca", "mode": mode, "arms": arms, "guardrails": guardrails}), STAMP
    )


def series(registry: CollectorRegistry) -> dict[str, float]:
    """Every series of an experiment, its last name and labels put together."""
    return {
        " ".join((sample.name.removeprefix("attnserve_experiment_"), *sample.labels.values())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if "experiment" in sample.labels and not sample.name.endswith(("_created", "_bucket"))
    }


def test_series_exist_at_zero_from_the_start() -> None:
    """A rate over any of them is right from the first event; what cannot happen has none."""
    registry = CollectorRegistry()
    ExperimentMetrics(registry).start_experiment(experiment())
    found = series(registry)
    assert set(found.values()) == {0.0}
    for name in (
        "requests_total se-or-eca se ok hash",
        "requests_total se-or-eca eca internal fallback",
        "requests_total se-or-eca se ok single",
        "duration_seconds_count se-or-eca eca",
        "verdict se-or-eca better",
        "dropped_total se-or-eca eca mirror",
        "rollbacks_total se-or-eca error_rate",
    ):
        assert name in found
    assert not any(name.startswith("agreement_total") for name in found)
    assert "requests_total se-or-eca se ok override" not in found


def test_pairs_have_agreements() -> None:
    """Where arms see the same images it is counted whether they agree."""
    registry = CollectorRegistry()
    ExperimentMetrics(registry).start_experiment(experiment("paired"))
    assert {name for name in series(registry) if name.startswith("agreement")} == {
        "agreement_total se-or-eca true",
        "agreement_total se-or-eca false",
    }


def test_one_verdict_is_shown_at_a_time() -> None:
    """The gauge is 1 for the current verdict and 0 for all others."""
    registry = CollectorRegistry()
    metrics = ExperimentMetrics(registry)
    metrics.show_verdict("se-or-eca", Verdict.BETTER)
    metrics.show_verdict("se-or-eca", Verdict.WORSE)
    found = series(registry)
    assert len(found) == len(Verdict)
    assert [name for name, value in found.items() if value] == ["verdict se-or-eca worse"]


def test_nothing_but_a_rollback_is_left_of_an_experiment() -> None:
    """Series that nobody adds to any more are gone, unless an alert has yet to see them."""
    registry = CollectorRegistry()
    metrics = ExperimentMetrics(registry)
    metrics.start_experiment(experiment())
    metrics.forget_experiment("se-or-eca")
    assert series(registry) == {}
    metrics.start_experiment(experiment())
    metrics.count_rollback("se-or-eca", "error_rate")
    metrics.forget_experiment("se-or-eca")
    assert series(registry) == {"rollbacks_total se-or-eca error_rate": 1.0}


def test_what_ends_after_its_experiment_makes_no_series_anew() -> None:
    """A verdict that was being computed is not shown; calls ask whether there is still something to count."""
    registry = CollectorRegistry()
    metrics = ExperimentMetrics(registry)
    metrics.start_experiment(experiment())
    assert not metrics.has_ended("se-or-eca")
    metrics.forget_experiment("se-or-eca")
    assert metrics.has_ended("se-or-eca")
    metrics.show_verdict("se-or-eca", Verdict.BETTER)
    assert series(registry) == {}
