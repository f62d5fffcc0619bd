"""Every metric name of the project; units are in the names, the registry is passed in.

Label values are bounded: a model name that a client sent is a label only once it is resolved;
everything else counts under "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Protocol, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serve.core.batching import Reason
from serve.core.errors import Code
from serve.core.messages import ModelRef, Timings

M = TypeVar("M", Counter, Gauge, Histogram)

UNKNOWN = "unknown"
PROTOCOLS = ("grpc", "http")
STAGES = ("queue", "decode", "inference", "encode")

# Code -> the `outcome` label of requests and images.
OUTCOMES: Mapping[Code, str] = {
    Code.INVALID: "client_error",
    Code.NOT_FOUND: "client_error",
    Code.TOO_LARGE: "client_error",
    Code.UNAUTHENTICATED: "client_error",
    Code.FORBIDDEN: "client_error",
    Code.UNSUPPORTED: "client_error",
    Code.CONFLICT: "client_error",
    Code.CHANGED: "client_error",
    Code.OVERLOADED: "shed",
    Code.DEADLINE: "timeout",
    Code.CALLER_GONE: "cancelled",
    Code.UNAVAILABLE: "unavailable",
    Code.INTERNAL: "internal",
}
OUTCOME_LABELS = ("ok", *dict.fromkeys(OUTCOMES.values()))

# 1 ms to 60 s, each at most twice the one before, so that a quantile read from them is not far off.
REQUEST_BUCKETS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
)  # fmt: skip
STAGE_BUCKETS = (0.0001, 0.00025, 0.0005, *REQUEST_BUCKETS)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
ENGINE_OUTCOMES = ("ok", "lost", "timeout", "overloaded", "unreachable", "missing", "refused", "garbled")
RELOADED = ("tokens", "certificates", "experiment_keys", "experiments")
# Of those, the ones that say something of the engine, and one that is no failure.
EJECTION_REASONS = ("lost", "timeout", "overloaded", "unreachable", "missing", "garbled", "slow")
BREAKER_STATES = ("closed", "open", "half_open")


class Kept(Protocol):
    """Gives the series of a metric with some label values, where these are never removed.

    `labels` checks its arguments and takes a lock, each time, and every request has ten series.
    """

    def __call__(self, metric: M, *values: str) -> M:
        """The same as `metric.labels(*values)`."""
        ...


def _labelled(metric: Counter | Gauge | Histogram, *values: str) -> Counter | Gauge | Histogram:
    return metric.labels(*values)


class Metrics:
    """The metrics of one gateway process.

    Attributes:
        kept: Finds series of models quickly; not for those of engines, which come and go.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric; twice in one registry is an error."""
        self.registry = registry
        self.kept = cast("Kept", cache(_labelled))
        self._requests()
        self._batches()
        self._engines()
        self._audit()
        self._files()
        for protocol in PROTOCOLS:
            self._start_requests(UNKNOWN, "", protocol)

    def _requests(self) -> None:
        served = ("model", "version", "protocol")
        self.requests = self._counter(
            "attnserve_requests", "Inference requests, by how they ended.", (*served, "outcome")
        )
        self.request_duration = self._histogram(
            "attnserve_request_duration_seconds",
            "Seconds from the request's arrival at the gateway to its answer.",
            served,
            REQUEST_BUCKETS,
        )
        self.images = self._counter(
            "attnserve_images", "Images, by how they ended.", ("model", "version", "outcome")
        )
        self.inflight = self._gauge(
            "attnserve_inflight_requests", "Requests that wait for their answer.", ("model",)
        )
        # Unlike the duration of requests it has mirrored ones, and nothing but what workers are needed for.
        self.predict_seconds = self._counter(
            "attnserve_predict_seconds",
            "Seconds that requests, mirrored ones too, have waited for a model's answer; its rate is how "
            "many are in hand on average.",
            ("model",),
        )
        self.model_ready = self._gauge(
            "attnserve_model_ready", "1 when the version can answer.", ("model", "version")
        )

    def _batches(self) -> None:
        self.stage_duration = self._histogram(
            "attnserve_stage_duration_seconds",
            "Seconds that a batch spent in a stage (queue: a request that was answered).",
            ("model", "stage"),
            STAGE_BUCKETS,
        )
        self.batch_images = self._histogram(
            "attnserve_batch_images", "Images in a batch.", ("model",), BATCH_BUCKETS
        )
        self.batch_release = self._counter(
            "attnserve_batch_release", "Batches, by why they left.", ("model", "reason")
        )
        self.batch_target_images = self._gauge(
            "attnserve_batch_target_images",
            "Images that make a batch whole while workers are busy, as learned; 0 before the first request.",
            ("model",),
        )
        self.queue_images = self._gauge(
            "attnserve_queue_images", "Images that wait in the gateway.", ("model",)
        )

    def _engines(self) -> None:
        self.engine_attempts = self._counter(
            "attnserve_engine_attempts",
            "Batches sent to an engine, by how the attempt ended.",
            ("model", "engine", "outcome"),
        )
        self.engine_retries = self._counter(
            "attnserve_engine_retries", "Batches sent again after this engine failed them.", ("engine",)
        )
        self.engine_restarts = self._counter(
            "attnserve_engine_restarts", "Unexpected ends of a supervised engine.", ("engine",)
        )
        self.engine_ejections = self._counter(
            "attnserve_engine_ejections", "Times that an engine was ejected, by why.", ("engine", "reason")
        )
        self.engine_breaker = self._gauge(
            "attnserve_engine_breaker",
            "1 for the state of the circuit breaker: closed, open, or half_open while it is probed.",
            ("model", "engine", "state"),
        )
        self.retries_refused = self._counter(
            "attnserve_engine_retries_refused", "Batches not tried again: the budget was spent.", ("model",)
        )
        self.engine_ejected = self._gauge(
            "attnserve_engine_ejected",
            "1 while the engine takes no batches: it does not answer, or holds no model.",
            ("engine",),
        )

    def _audit(self) -> None:
        self.audit_write_failures = self._counter(
            "attnserve_audit_write_failures", "Lines that the audit file did not take.", ()
        )

    def _files(self) -> None:
        self.config_reload_success = self._gauge(
            "attnserve_config_reload_success",
            "1 when the files' newest version is in force, 0 when an older one had to stay.",
            ("what",),
        )
        for what in RELOADED:
            self.config_reload_success.labels(what).set(1)
        self.certificate_expires = self._gauge(
            "attnserve_certificate_expires_timestamp_seconds",
            "When the certificate of the doors ends, as Unix time; +Inf without TLS.",
            (),
        )
        self.certificate_expires.set(math.inf)
        self.token_expires = self._gauge(
            "attnserve_token_expires_timestamp_seconds",
            "When the last token of that name ends, as Unix time; +Inf: it does not.",
            ("token",),
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def start_model(self, ref: ModelRef) -> None:
        """Make the series of a version exist at 0, so that a rate over them is right from the first event."""
        for protocol in PROTOCOLS:
            self._start_requests(ref.name, ref.version, protocol)
        for outcome in OUTCOME_LABELS:
            self.images.labels(ref.name, ref.version, outcome)
        for stage in STAGES:
            self.stage_duration.labels(ref.name, stage)
        for reason in Reason:
            self.batch_release.labels(ref.name, reason.value)
        self.batch_images.labels(ref.name)
        self.batch_target_images.labels(ref.name)
        self.queue_images.labels(ref.name)
        self.inflight.labels(ref.name)
        self.predict_seconds.labels(ref.name)
        self.retries_refused.labels(ref.name)
        self.model_ready.labels(ref.name, ref.version)

    def start_engine(self, engine: str, model: str | None = None) -> None:
        """Make the series of an engine, or of a model on it, exist; without a model it takes no batches."""
        self.engine_retries.labels(engine)
        self.engine_restarts.labels(engine)
        if model is None:
            self.engine_ejected.labels(engine).set(1)
        else:
            for outcome in ENGINE_OUTCOMES:
                self.engine_attempts.labels(model, engine, outcome)
            for state in BREAKER_STATES:
                self.engine_breaker.labels(model, engine, state)
            for reason in EJECTION_REASONS:
                self.engine_ejections.labels(engine, reason)

    def stop_breaker(self, model: str, engine: str) -> None:
        """Show no breaker of an engine that holds the model no more."""
        for state in BREAKER_STATES:
            self.engine_breaker.remove(model, engine, state)

    def forget_engine(self, engine: str) -> None:
        """Drop every series of an engine that is gone for good; engines come and go with their addresses."""
        for metric in (
            self.engine_attempts,
            self.engine_breaker,
            self.engine_ejected,
            self.engine_ejections,
            self.engine_restarts,
            self.engine_retries,
        ):
            metric.remove_by_labels({"engine": engine})

    def observe_batch(self, model: str, images: int, reason: Reason) -> None:
        """Count a batch that leaves."""
        self.kept(self.batch_images, model).observe(images)
        self.kept(self.batch_release, model, reason.value).inc()

    def observe_queue(self, model: str, seconds: float) -> None:
        """Record how long an answered request waited."""
        self.kept(self.stage_duration, model, "queue").observe(seconds)

    def observe_timings(self, model: str, timings: Timings) -> None:
        """Record what the handler spent on a batch."""
        self.kept(self.stage_duration, model, "decode").observe(timings.decode_s)
        self.kept(self.stage_duration, model, "inference").observe(timings.inference_s)
        self.kept(self.stage_duration, model, "encode").observe(timings.encode_s)

    def _start_requests(self, model: str, version: str, protocol: str) -> None:
        for outcome in OUTCOME_LABELS:
            self.requests.labels(model, version, protocol, outcome)
        self.request_duration.labels(model, version, protocol)
