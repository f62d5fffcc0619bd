"""The book of the statistics extension."""

from __future__ import annotations

from serve.core.catalog import BatchUsage, ModelUsage, Span
from serve.core.messages import ModelRef, Timings
from serve.usage import Served, UsageBook

REF = ModelRef(name="digits_se", version="1")
TIMINGS = Timings(decode_s=0.001, inference_s=0.002, encode_s=0.003)


def test_a_version_that_did_nothing_is_all_zeros() -> None:
    """It can be read before anything has happened."""
    assert UsageBook().read(REF) == ModelUsage(name=REF.name, version=REF.version)


def test_requests_and_batches_are_summed() -> None:
    """Two answers, a failure and three batches of two sizes add up to whole values."""
    book = UsageBook()
    for images, wall_ms in ((3, 1000), (1, 2000)):
        served = Served(images=images, duration_s=0.5, queue_s=0.25, timings=TIMINGS, wall_ms=wall_ms)
        book.served(REF, served)
    book.failed(REF, 0.125)
    for images in (4, 1, 4):
        book.batch(REF, images, TIMINGS)
    spans = [Span(count=2, ns=ns) for ns in (2_000_000, 4_000_000, 6_000_000)]
    assert book.read(REF) == ModelUsage(
        name=REF.name,
        version=REF.version,
        last_inference_ms=2000,
        inference_count=4,
        execution_count=3,
        success=Span(count=2, ns=10**9),
        fail=Span(count=1, ns=125_000_000),
        queue=Span(count=2, ns=500_000_000),
        compute_input=spans[0],
        compute_infer=spans[1],
        compute_output=spans[2],
        batches=(
            BatchUsage(
                batch_size=1,
                compute_input=Span(count=1, ns=1_000_000),
                compute_infer=Span(count=1, ns=2_000_000),
                compute_output=Span(count=1, ns=3_000_000),
            ),
            BatchUsage(batch_size=4, compute_input=spans[0], compute_infer=spans[1], compute_output=spans[2]),
        ),
    )


def test_versions_are_kept_apart() -> None:
    """What one version does is not seen in another."""
    book = UsageBook()
    book.failed(REF, 1.0)
    other = ModelRef(name=REF.name, version="2")
    assert book.read(other) == ModelUsage(name=REF.name, version="2")
