"""Checks of limits that only make sense together."""

from __future__ import annotations

from collections.abc import Iterator

from serve.doctoring.finding import Finding, Patient, info, warning


def attempts(patient: Patient) -> Iterator[Finding]:
    """Whether a hung engine leaves time for another one."""
    config, given = patient.config, patient.config.attempts
    if given.attempt_timeout_s > config.request_timeout_s:
        yield warning(
            f"attempts.attempt_timeout_s, {given.attempt_timeout_s:g}, is above "
            f"request_timeout_s, {config.request_timeout_s:g}",
            "An engine that hangs takes all the time that a request has; none is left for another try.",
            "Set attempt_timeout_s to half of request_timeout_s or less.",
        )
    if given.patience_s >= given.attempt_timeout_s:
        yield warning(
            f"attempts.patience_s, {given.patience_s:g}, is not below "
            f"attempts.attempt_timeout_s, {given.attempt_timeout_s:g}",
            "Another engine is never tried beside a slow one, only after it.",
            "Set patience_s to what a slow batch takes, such as 1.",
        )


def drain(patient: Patient) -> Iterator[Finding]:
    """Whether what runs when the gateway is told to end may come to its end."""
    config = patient.config
    if config.drain_timeout_s < config.attempts.attempt_timeout_s:
        yield info(
            f"drain_timeout_s, {config.drain_timeout_s:g}, is below "
            f"attempts.attempt_timeout_s, {config.attempts.attempt_timeout_s:g}",
            "A batch that takes longer is cut off when the gateway ends; its callers hear UNAVAILABLE.",
            "Raise drain_timeout_s where batches take that long, and whoever ends the gateway must wait.",
        )


def sizes(patient: Patient) -> Iterator[Finding]:
    """Whether the largest request that is allowed can ever be answered."""
    config = patient.config
    queue = config.batching.max_queue_images
    if config.max_request_images > queue:
        yield warning(
            f"max_request_images, {config.max_request_images}, is above batching.max_queue_images, {queue}",
            "A request of more images than may wait is always refused as if there were too much load.",
            "Lower max_request_images, or raise max_queue_images.",
        )
