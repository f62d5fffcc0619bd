"""The answer of the capacity model in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtests.capacity.errors import in_words


def sentences(document: Mapping[str, Any]) -> list[str]:
    """From the document of `loadtests.capacity.answer`, which need not have sentences yet."""
    return [
        *_warning(document),
        _knee(document),
        *_errors(document),
        _limit(document),
        *_replicas(document),
        *_scaling(document),
    ]


def _warning(document: Mapping[str, Any]) -> list[str]:
    found = document["doubts"]
    return [f"The model does not fit well, do not plan with it: {' '.join(found)}"] if found else []


def _knee(document: Mapping[str, Any]) -> str:
    knee, promise = document["knee"], f"99 % answered within {document['p99_ms']:g} ms"
    if knee["predicted"] is None:
        return f"{document['model']}: no rate is predicted to have {promise}, not even a few requests."
    return (
        f"{document['model']} is predicted to carry {_rate(knee['predicted'])} requests a second, {promise}"
        f" ({_rate(knee['low'] or 0)} to {_rate(knee['high'] or 0)} where any one step is left out);"
        f" {_measured(knee)}."
    )


def _measured(knee: Mapping[str, Any]) -> str:
    carried, broken, error = knee["carried"], knee["broken"], knee["error"]
    if carried is None and broken is None:
        return "nothing was measured"
    if carried is None:
        return f"measured: not even {_rate(broken)} were carried"
    if broken is None:
        return f"measured: {_rate(carried)} were carried, more was not tried"
    off = "which the prediction is between"
    if error:
        off = f"so the prediction is {abs(error):.0%} too {'high' if error > 0 else 'low'}"
    return f"measured: {_rate(carried)} were carried and {_rate(broken)} were not, {off}"


def _errors(document: Mapping[str, Any]) -> list[str]:
    found = document["errors"]["left_out"]
    if not found:
        return []
    parts = [
        f"{name} by {in_words(error['median'])} (worst {in_words(error['worst'])})"
        for name, error in found.items()
    ]
    return [f"Each step predicted from the others is off, at the median of the steps: {', '.join(parts)}."]


def _limit(document: Mapping[str, Any]) -> str:
    service, most = document["service"], document["saturation"]["predicted"]
    batch = f"a batch of b images takes {service['alpha_ms']:.3g} + {service['beta_ms']:.3g} b ms"
    if document["limit"] == "gateway":
        return (
            f"At most {_rate(most)} a second are answered. The limit is not the workers ({batch}) but what"
            f" comes before them, {service['front_ms']:.3g} ms for each request: the gateway, and whoever"
            " shares its cores."
        )
    return f"At most {_rate(most)} a second are answered: {batch}. The limit is the workers."


def _replicas(document: Mapping[str, Any]) -> list[str]:
    table = document["replicas"]
    if not table:
        return []
    words = [f"{_number(row)} for {_rate(row['rate'])} a second" for row in table]
    text = (
        f"Replicas: {', '.join(words)}; in brackets with nine tenths of the lowest rate that any fit predicts"
        " or the steps have shown. Each is one like that which was measured, on as much of a machine."
    )
    return [text]


def _rate(rate: float) -> str:
    """Four digits of it, and never an exponent."""
    return f"{float(f'{rate:.4g}'):,.12g}"


def _number(row: Mapping[str, Any]) -> str:
    return f"{row['replicas']} ({row['cautious']})"


def _scaling(document: Mapping[str, Any]) -> list[str]:
    scaling = document["autoscaling"]
    if scaling is None:
        return []
    text = (
        f"Autoscale on {scaling['concurrency']:.3g} requests that wait for each worker, which is"
        f" {_rate(scaling['rate'])} a second, {scaling['headroom']:.0%} of the lowest of those:"
        f" {scaling['query']}."
    )
    return [text]
