"""The metrics: their names are a promise, and their series exist before anything happens."""

from __future__ import annotations

import itertools

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serve.core.batching import Reason
from serve.core.errors import Code
from serve.core.messages import ModelRef, Timings
from serve.metrics import (
    ENGINE_OUTCOMES,
    OUTCOME_LABELS,
    OUTCOMES,
    PROTOCOLS,
    REQUEST_BUCKETS,
    STAGES,
    Metrics,
)

REF = ModelRef(name="digits_se", version="1")
# Name as scraped -> its type and labels, as documented for whoever writes alerts and dashboards.
PROMISED = {
    "attnserve_requests": ("counter", {"model", "version", "protocol", "outcome"}),
    "attnserve_request_duration_seconds": ("histogram", {"model", "version", "protocol"}),
    "attnserve_stage_duration_seconds": ("histogram", {"model", "stage"}),
    "attnserve_batch_images": ("histogram", {"model"}),
    "attnserve_batch_release": ("counter", {"model", "reason"}),
    "attnserve_batch_target_images": ("gauge", {"model"}),
    "attnserve_images": ("counter", {"model", "version", "outcome"}),
    "attnserve_inflight_requests": ("gauge", {"model"}),
    "attnserve_predict_seconds": ("counter", {"model"}),
    "attnserve_queue_images": ("gauge", {"model"}),
    "attnserve_engine_attempts": ("counter", {"model", "engine", "outcome"}),
    "attnserve_engine_retries": ("counter", {"engine"}),
    "attnserve_engine_restarts": ("counter", {"engine"}),
    "attnserve_engine_ejected": ("gauge", {"engine"}),
    "attnserve_engine_ejections": ("counter", {"engine", "reason"}),
    "attnserve_engine_breaker": ("gauge", {"model", "engine", "state"}),
    "attnserve_engine_retries_refused": ("counter", {"model"}),
    "attnserve_model_ready": ("gauge", {"model", "version"}),
    "attnserve_audit_write_failures": ("counter", set()),
    "attnserve_certificate_expires_timestamp_seconds": ("gauge", set()),
    "attnserve_config_reload_success": ("gauge", {"what"}),
    "attnserve_token_expires_timestamp_seconds": ("gauge", {"token"}),
}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with every metric, one version, one engine that holds it, and one token."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.start_model(REF)
    metrics.start_engine("local")
    metrics.start_engine("local", REF.name)
    metrics.token_expires.labels("ci")
    return registry


def test_names_types_and_labels_are_those_promised(registry: CollectorRegistry) -> None:
    """What a scrape shows is the documented table, and nothing beside it."""
    scraped = text_string_to_metric_families(generate_latest(registry).decode())
    found = {
        family.name: (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in scraped
        if not family.name.endswith("_created")
    }
    assert found == PROMISED


def test_series_exist_from_the_start(registry: CollectorRegistry) -> None:
    """A rate over a counter is right from its first event, because the series was there at 0 before."""
    expected = [
        (
            "attnserve_requests_total",
            {"model": model, "version": version, "protocol": protocol, "outcome": outcome},
        )
        for model, version in ((REF.name, REF.version), ("unknown", ""))
        for protocol, outcome in itertools.product(PROTOCOLS, OUTCOME_LABELS)
    ]
    model = {"model": REF.name}
    expected += [
        ("attnserve_images_total", model | {"version": REF.version, "outcome": outcome})
        for outcome in OUTCOME_LABELS
    ]
    expected += [("attnserve_stage_duration_seconds_count", model | {"stage": stage}) for stage in STAGES]
    expected += [("attnserve_batch_release_total", model | {"reason": reason.value}) for reason in Reason]
    expected += [
        ("attnserve_engine_attempts_total", model | {"engine": "local", "outcome": outcome})
        for outcome in ENGINE_OUTCOMES
    ]
    expected += [(f"attnserve_engine_{what}_total", {"engine": "local"}) for what in ("retries", "restarts")]
    expected += [("attnserve_inflight_requests", model), ("attnserve_queue_images", model)]
    expected += [("attnserve_predict_seconds_total", model)]
    assert {str(series): registry.get_sample_value(*series) for series in expected} == {
        str(series): 0 for series in expected
    }


def test_every_code_has_an_outcome() -> None:
    """No failure can be left uncounted, and the outcomes are the seven promised."""
    assert set(OUTCOMES) == set(Code)
    assert set(OUTCOME_LABELS) == {
        "ok", "client_error", "shed", "timeout", "cancelled", "unavailable", "internal",
    }  # fmt: skip


def test_buckets_span_a_millisecond_to_a_minute() -> None:
    """They rise, and none is more than twice the one before."""
    assert (REQUEST_BUCKETS[0], REQUEST_BUCKETS[-1]) == (0.001, 60.0)
    assert all(1 < after / before <= 2 for before, after in itertools.pairwise(REQUEST_BUCKETS))


def test_a_batch_is_observed_by_size_reason_and_stage() -> None:
    """One batch is one event in each of its series."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.observe_batch(REF.name, 5, Reason.FULL)
    metrics.observe_timings(REF.name, Timings(decode_s=0.1, inference_s=0.2, encode_s=0.3))
    model = {"model": REF.name}
    assert registry.get_sample_value("attnserve_batch_images_sum", model) == 5
    assert registry.get_sample_value("attnserve_batch_release_total", model | {"reason": "full"}) == 1
    sums = [
        registry.get_sample_value("attnserve_stage_duration_seconds_sum", model | {"stage": stage})
        for stage in ("decode", "inference", "encode")
    ]
    assert sums == [0.1, 0.2, 0.3]


def test_two_gateways_in_one_process_share_nothing() -> None:
    """The registry is passed in; registering twice in one is an error."""
    registry = CollectorRegistry()
    Metrics(registry)
    Metrics(CollectorRegistry())
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)
