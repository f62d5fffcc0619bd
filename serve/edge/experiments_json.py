"""Experiments as values for JSON: what the desk answers, written down. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from serve.core.assignment import Explanation
from serve.core.experiment import Alias, Arm, Experiment, State
from serve.core.record import DisagreementRow, PairRow, Receipt
from serve.edge.desk import Document
from serve.experiments.reports import Headline

Json = dict[str, Any]


def encode_experiment(experiment: Experiment) -> Json:
    """Write one version: its design's keys beside its own, so that what is read is what may be sent."""
    return encode_version(experiment) | {"labels": list(experiment.labels)}


def encode_version(experiment: Experiment) -> Json:
    """Write one version among several: without the classes, which may be a thousand."""
    winner = experiment.winner
    return {
        "name": experiment.name,
        "state": experiment.state.value,
        "version": experiment.number,
        "phase": experiment.phase,
        **experiment.design.model_dump(mode="json"),
        "winner": None if winner is None else experiment.design.arms[winner].name,
        "effective_at": rfc3339(experiment.effective_at),
        "created_at": rfc3339(experiment.created_at),
        "act": experiment.act,
        "author": experiment.author,
        "reason": experiment.reason,
        "digest": experiment.digest,
    }


def encode_list(experiments: Iterable[Experiment], headlines: Mapping[str, Headline] | None) -> list[Json]:
    """Write several; with headlines, the verdict on each: null of a draft, and where it is not known yet."""
    versions = [encode_version(one) for one in experiments]
    if headlines is None:
        return versions
    return [one | _headline(one, headlines.get(one["name"])) for one in versions]


def _headline(version: Json, known: Headline | None) -> Json:
    return {
        "verdict": known.verdict.value if known else None,
        "sentence": known.sentence if known else None,
        "verdict_known": known is not None or version["state"] == State.DRAFT.value,
    }


def encode_alias(alias: Alias) -> Json:
    """Write an alias."""
    return {
        "name": alias.name,
        "target": alias.target,
        "version": alias.number,
        "effective_at": rfc3339(alias.effective_at),
        "author": alias.author,
        "reason": alias.reason,
    }


def encode_explanation(explanation: Explanation, arms: Iterable[Arm]) -> Json:
    """Write what a unit gets, and why; `arms` are those of the experiment."""
    arm = next(arm for arm in arms if arm.name == explanation.arm)
    return {
        "experiment": explanation.experiment,
        "version": explanation.number,
        "unit": explanation.unit,
        "arm": arm.name,
        "model": arm.model,
        "model_version": arm.version,
        "assignment": explanation.why.value,
        "sentence": explanation.sentence,
        "checks": plain(explanation.checks),
    }


def encode_receipts(answers: Sequence[tuple[Receipt, str]]) -> list[Json]:
    """Write what became of each outcome or label; a message only where there is one."""
    return [
        {"status": receipt.value} | ({"message": message} if message else {}) for receipt, message in answers
    ]


def encode_report(document: Document) -> Json:
    """Write a report: what it says first, then what was seen before and what was done."""
    full = plain(document.to_json())
    return {**full.pop("report"), **full}


def encode_pair(row: PairRow, arms: Sequence[Arm]) -> Json:
    """Write one image that arms answered; what was not answered is null."""
    said = zip(arms, row.said, row.confidence, row.latency_us, strict=True)
    return {
        "prediction": row.prediction,
        "item": row.item,
        "unit": row.unit,
        "phase": row.phase,
        "at": rfc3339(row.at),
        "label": row.label or None,
        "answers": {
            arm.name: {
                "label": label or None,
                "confidence": finite(confidence),
                "latency_us": latency or None,
            }
            for arm, label, confidence, latency in said
        },
    }


def encode_disagreement(row: DisagreementRow, arms: Sequence[Arm]) -> Json:
    """Write one image on which arms disagree."""
    return encode_pair(row, arms) | {"image_kept": row.image_kept}


def rfc3339(at: float) -> str:
    """Write Unix time in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(number: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return number if math.isfinite(number) else None


def plain(value: object) -> Any:  # noqa: ANN401  whatever JSON holds
    """Turn dataclasses, enums, tuples and numbers that are not finite into what JSON has."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value
