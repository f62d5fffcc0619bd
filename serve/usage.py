"""What each version has done since the gateway started: the figures of the statistics extension."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serve.core.catalog import BatchUsage, ModelUsage
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


class UsageBook:
    """Frozen sums by version, replaced as requests and batches end."""

    def __init__(self) -> None:
        """Start empty."""
        self._usage: dict[ModelRef, ModelUsage] = {}
        self._batches: dict[ModelRef, dict[int, BatchUsage]] = {}

    def served(self, ref: ModelRef, served: Served) -> None:
        """Add a request that was answered."""
        usage = self._get(ref)
        timings = served.timings
        self._usage[ref] = replace(
            usage,
            last_inference_ms=served.wall_ms,
            inference_count=usage.inference_count + served.images,
            success=usage.success.plus(served.duration_s),
            queue=usage.queue.plus(served.queue_s),
            compute_input=usage.compute_input.plus(timings.decode_s),
            compute_infer=usage.compute_infer.plus(timings.inference_s),
            compute_output=usage.compute_output.plus(timings.encode_s),
        )

    def failed(self, ref: ModelRef, duration_s: float) -> None:
        """Add a request that ended in an error."""
        usage = self._get(ref)
        self._usage[ref] = replace(usage, fail=usage.fail.plus(duration_s))

    def batch(self, ref: ModelRef, images: int, timings: Timings) -> None:
        """Add a batch that an engine ran."""
        usage = self._get(ref)
        self._usage[ref] = replace(usage, execution_count=usage.execution_count + 1)
        sizes = self._batches.setdefault(ref, {})
        row = sizes.get(images, BatchUsage(batch_size=images))
        sizes[images] = replace(
            row,
            compute_input=row.compute_input.plus(timings.decode_s),
            compute_infer=row.compute_infer.plus(timings.inference_s),
            compute_output=row.compute_output.plus(timings.encode_s),
        )

    def read(self, ref: ModelRef) -> ModelUsage:
        """The sums of a version, its batches by ascending size."""
        sizes = self._batches.get(ref, {})
        return replace(self._get(ref), batches=tuple(sizes[size] for size in sorted(sizes)))

    def _get(self, ref: ModelRef) -> ModelUsage:
        return self._usage.get(ref, ModelUsage(name=ref.name, version=ref.version))
