"""How much one model carries, how many replicas a rate needs, and when to add one: as JSON.

The document, `Report.capacity`; rates are requests a second, times milliseconds, null is "not known":

    format        1
    model         name
    p99_ms        the promise: 99 % are answered so soon
    target_rate   or null
    batching      {max_batch, workers, prefetch}
    service       {alpha_ms, beta_ms, spread, held_ms, front_ms, transport_ms, images: [[count, share], ...]}
    limit         "workers" or "gateway": what gives out first
    steps         [{name, rate, steady, kept, mean_batch, predicted_batch, and for each of measured,
                  predicted, held_out, left_out: {p50, p90, p95, p99}, {} where there is none}, ...]
    curve         [{rate, p50, p90, p99, concurrency, mean_batch}, ...]: predicted
    errors        {held_out, left_out: {p50, p90, p95, p99: {median, worst, steps}}}: shares, without sign
    saturation    {predicted, measured, error}: requests a second that are answered at most
    knee          {predicted, low, high, held_out, carried, broken, error, cautious}
    replicas      [{what: "target" or "2 x", rate, replicas, cautious, p99_ms}, ...]
    autoscaling   {metric, query, headroom, model, p99_ms, concurrency, queue_s, rate, replicas, most,
                  hpa, keda}, the last two YAML; or null
    doubts        sentences: why not to believe it; empty where nothing speaks against it
    sentences     the answer in words
    fitted        all that is needed to answer again: `Fitted.of_json`
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from loadtests.capacity.autoscaling import Target, target
from loadtests.capacity.doubts import doubts
from loadtests.capacity.errors import errors, saturation_error
from loadtests.capacity.fitted import Fitted, fitted
from loadtests.capacity.knee import curve, knee, replicas
from loadtests.capacity.manifests import KINDS, Scaled, text_of, variant_of
from loadtests.capacity.measured import measure
from loadtests.capacity.sentences import sentences
from loadtests.capacity.service import Batching, CapacityError
from loadtests.outcome import Run
from loadtests.report.document import Report

FORMAT: Final = 1


def answer(
    run: Run,
    report: Report,
    *,
    p99_ms: float,
    target_rate: float | None = None,
    batching: Batching | None = None,
) -> Mapping[str, Any]:
    """Fit a queue on a run and answer with it.

    Args:
        run: In an open loop, of one model.
        report: Of the run, with its steps.
        p99_ms: The promise: 99 % of the requests are answered so soon.
        target_rate: Requests a second for which replicas are needed.
        batching: The gateway's; its defaults where it is not given.

    Raises:
        CapacityError: The run leaves the capacity open; the message says what it lacks.
    """
    _check(p99_ms, target_rate)
    model = fitted(measure(run, report), batching or Batching(), report.slo["p99_ms"])
    return answered(model, p99_ms=p99_ms, target_rate=target_rate)


def again(
    document: Mapping[str, Any], *, p99_ms: float | None = None, target_rate: float | None = None
) -> Mapping[str, Any]:
    """Answer another question with the queue of an answer that was kept.

    Args:
        document: The answer.
        p99_ms: The promise; None: that of the answer.
        target_rate: As in `answer`; None: that of the answer.

    Raises:
        CapacityError: It is none of this version, or the question makes no sense.
    """
    if document.get("format") != FORMAT:
        raise CapacityError(f"format is {document.get('format')!r}, must be {FORMAT}: from another version")
    promise = document["p99_ms"] if p99_ms is None else p99_ms
    rate = document["target_rate"] if target_rate is None else target_rate
    _check(promise, rate)
    try:
        model = Fitted.of_json(document["fitted"])
    except (KeyError, TypeError, ValueError) as error:
        raise CapacityError(f"fitted is not what this version writes: {error!r}") from error
    return answered(model, p99_ms=promise, target_rate=rate)


def answered(model: Fitted, *, p99_ms: float, target_rate: float | None) -> Mapping[str, Any]:
    """The document."""
    found = knee(model, p99_ms)
    table = replicas(model, found, target_rate)
    needed = table[0]["cautious"] if table and target_rate is not None else None
    scaling = target(model, found, needed)
    kept = model.as_json()
    document = {
        "format": FORMAT,
        "model": model.model,
        "p99_ms": p99_ms,
        "target_rate": target_rate,
        "batching": kept["batching"],
        "service": kept["service"],
        "limit": model.limit,
        "steps": kept["steps"],
        "curve": curve(model),
        "errors": errors(model),
        "saturation": {
            "predicted": model.service.saturation(model.batching),
            "measured": model.saturation,
            "error": saturation_error(model),
        },
        "knee": found.as_json(),
        "replicas": table,
        "autoscaling": _autoscaling(scaling) if scaling else None,
        "doubts": doubts(model, found),
        "fitted": kept,
    }
    document["sentences"] = sentences(document)
    plain: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return plain


def _autoscaling(scaling: Target) -> dict[str, Any]:
    scaled = Scaled(variant=variant_of(scaling.model), models=(scaling.model,))
    return scaling.as_json() | {kind: text_of(kind, scaling, scaled) for kind in KINDS}


def _check(p99_ms: float, target_rate: float | None) -> None:
    if not 0 < p99_ms < math.inf:
        raise CapacityError(f"p99_ms is {p99_ms}, must be above 0")
    if target_rate is not None and not 0 < target_rate < math.inf:
        raise CapacityError(f"target rate is {target_rate}, must be above 0 requests a second")
