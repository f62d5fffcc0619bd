"""What each version has done since the gateway started: the figures of the statistics extension."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from serve.core.catalog import BatchUsage, ModelUsage, Span
from serve.core.messages import ModelRef, Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request that was answered.

    Attributes:
        images: How many of its images succeeded.
        duration_s: From arrival to answer, in seconds.
        queue_s: From arrival to the release of its last image, in seconds.
        timings: Of the batches that carried it.
        wall_ms: Wall clock at the answer, milliseconds since 1970.
    """

    images: int
    duration_s: float
    queue_s: float
    timings: Timings
    wall_ms: int


@dataclass(slots=True)
class _Sum:
    """A `Span` in the making."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * 1e9)

    def span(self) -> Span:
        return Span(count=self.count, ns=self.ns)


@dataclass(slots=True)
class _Stages:
    """What the handler spent, by stage."""

    decode: _Sum = field(default_factory=_Sum)
    inference: _Sum = field(default_factory=_Sum)
    encode: _Sum = field(default_factory=_Sum)

    def add(self, timings: Timings) -> None:
        self.decode.add(timings.decode_s)
        self.inference.add(timings.inference_s)
        self.encode.add(timings.encode_s)


@dataclass(slots=True)
class _Usage:
    """A `ModelUsage` in the making."""

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: _Sum = field(default_factory=_Sum)
    fail: _Sum = field(default_factory=_Sum)
    queue: _Sum = field(default_factory=_Sum)
    stages: _Stages = field(default_factory=_Stages)
    batches: defaultdict[int, _Stages] = field(default_factory=lambda: defaultdict(_Stages))


class UsageBook:
    """Sums by version, added up as requests and batches end, and frozen when they are read."""

    def __init__(self) -> None:
        """Start empty."""
        self._usage: defaultdict[ModelRef, _Usage] = defaultdict(_Usage)

    def served(self, ref: ModelRef, served: Served) -> None:
        """Add a request that was answered."""
        usage = self._usage[ref]
        usage.last_inference_ms = served.wall_ms
        usage.inference_count += served.images
        usage.success.add(served.duration_s)
        usage.queue.add(served.queue_s)
        usage.stages.add(served.timings)

    def failed(self, ref: ModelRef, duration_s: float) -> None:
        """Add a request that ended in an error."""
        self._usage[ref].fail.add(duration_s)

    def batch(self, ref: ModelRef, images: int, timings: Timings) -> None:
        """Add a batch that an engine ran."""
        usage = self._usage[ref]
        usage.execution_count += 1
        usage.batches[images].add(timings)

    def read(self, ref: ModelRef) -> ModelUsage:
        """The sums of a version, its batches by ascending size."""
        usage = self._usage.get(ref, _Usage())
        return ModelUsage(
            name=ref.name,
            version=ref.version,
            last_inference_ms=usage.last_inference_ms,
            inference_count=usage.inference_count,
            execution_count=usage.execution_count,
            success=usage.success.span(),
            fail=usage.fail.span(),
            queue=usage.queue.span(),
            compute_input=usage.stages.decode.span(),
            compute_infer=usage.stages.inference.span(),
            compute_output=usage.stages.encode.span(),
            batches=tuple(_batch_usage(size, usage.batches[size]) for size in sorted(usage.batches)),
        )


def _batch_usage(size: int, stages: _Stages) -> BatchUsage:
    return BatchUsage(
        batch_size=size,
        compute_input=stages.decode.span(),
        compute_infer=stages.inference.span(),
        compute_output=stages.encode.span(),
    )
