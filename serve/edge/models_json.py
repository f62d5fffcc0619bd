"""Model cards as JSON."""

from __future__ import annotations

from serve.core.cards import DETAILS, SUMMARY, Json, read_facts, text
from serve.core.catalog import ModelUsage, Span
from serve.edge.experiments_json import rfc3339
from serve.model_cards import KnownModel


def encode_model(known: KnownModel, since: float, *, whole: bool = False) -> Json:
    """A version in a list of all; `whole`: one that is looked at alone.

    Args:
        known: What is known of it.
        since: When its use began to be counted, as Unix time.
        whole: With labels, gate columns, confusion and input.
    """
    line = known.line
    return {
        "name": line.name,
        "version": line.version,
        "state": line.state.value,
        "reason": text(line.reason) or "",
        "default": known.default,
        "aliases": list(known.aliases),
        **read_facts(known.card, DETAILS if whole else SUMMARY),
        "usage": _usage(known.usage, since),
    }


def _usage(usage: ModelUsage, since: float) -> Json:
    """Means are those of an answered request, in milliseconds; None before the first."""
    return {
        "requests": usage.success.count,
        "failed": usage.fail.count,
        "images": usage.inference_count,
        "mean_ms": _mean_ms(usage.success),
        "queue_ms": _mean_ms(usage.queue),
        "decode_ms": _mean_ms(usage.compute_input),
        "infer_ms": _mean_ms(usage.compute_infer),
        "since": rfc3339(since),
    }


def _mean_ms(span: Span) -> float | None:
    return span.ns / span.count / 1e6 if span.count else None
