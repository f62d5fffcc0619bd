"""Experiments in protobuf: messages of `experiments.proto` to and from the core's values. Pure.

A design's fields have the names that it has in JSON, so it is read into the same document, of what the
message names and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from serve.core.assignment import Explanation
from serve.core.errors import InvalidRequestError
from serve.core.experiment import Alias, Arm, Design, Experiment
from serve.core.record import PairRow, Receipt
from serve.edge.desk import checked_reason
from serve.edge.tensors import show
from serve.experiments.editing import ActRequest
from serve.experiments.outcomes import LabelRow, OutcomeItem
from serve.pb import experiments_pb2 as pb

_LISTS = (pb.Overrides.DESCRIPTOR, pb.Guardrails.DESCRIPTOR)
# What a row of the report has beside what may be unknown.
_ROW_KEYS = ("metric", "arm", "definition", "unit", "n", "method")
_ROW_FIGURES = ("estimate", "low", "high", "log_e", "p")


def decode_design(message: pb.Design) -> dict[str, Any]:
    """Read what a design names, as the document that the desk takes.

    Raises:
        InvalidRequestError: A word is not among those that the protocol has.
    """
    document = _document(message)
    if message.keep_images.HasField("max_images") and not message.keep_images.max_images:
        document["keep_images"] = None
    return document


def decode_act(message: pb.TransitionRequest) -> str:
    """Read which act it is.

    Raises:
        InvalidRequestError: It is none.
    """
    if not message.act:
        raise InvalidRequestError("act: is missing, must be one of ACT_START, ACT_RAMP, ...")
    return _word(pb.Act.DESCRIPTOR, message.act)


def decode_transition(message: pb.TransitionRequest) -> ActRequest:
    """Read what an act is given.

    Raises:
        InvalidRequestError: It has no reason.
    """
    return ActRequest(
        reason=checked_reason(message.reason),
        ramp=message.ramp if message.HasField("ramp") else None,
        arm=message.arm if message.HasField("arm") else None,
        if_match=if_version(message),
    )


def if_version(message: pb.TransitionRequest | pb.UpdateExperimentRequest | pb.SetAliasRequest) -> int | None:
    """The version that a change is meant for; None where any will do."""
    return message.if_version if message.HasField("if_version") else None


def decode_outcomes(rows: Iterable[pb.OutcomeItem]) -> list[OutcomeItem]:
    """Read outcomes that are told by token."""
    return [OutcomeItem(feedback_token=row.feedback_token, label=row.label, item=row.item) for row in rows]


def decode_labels(rows: Iterable[pb.Label]) -> list[LabelRow]:
    """Read labels that are told by prediction."""
    return [LabelRow(prediction=row.prediction, item=row.item, label=row.label) for row in rows]


def encode_experiment(experiment: Experiment) -> pb.Experiment:
    """Write one version, with the classes."""
    message = encode_version(experiment)
    message.labels.extend(experiment.labels)
    return message


def encode_version(experiment: Experiment) -> pb.Experiment:
    """Write one version among several: without the classes, which may be a thousand."""
    winner = experiment.winner
    return pb.Experiment(
        name=experiment.name,
        version=experiment.number,
        state=f"STATE_{experiment.state.name}",
        phase=experiment.phase,
        design=encode_design(experiment.design),
        effective_at=_timestamp(experiment.effective_at),
        created_at=_timestamp(experiment.created_at),
        winner="" if winner is None else experiment.design.arms[winner].name,
        act=experiment.act,
        author=experiment.author,
        reason=experiment.reason,
        digest=experiment.digest,
    )


def encode_design(design: Design) -> pb.Design:
    """Write a design, all of it."""
    document = design.model_dump(mode="json", exclude_none=True)
    lists = {name: {"items": document[name]} for name in ("overrides", "guardrails")}
    return pb.Design(**{**document, **lists, "mode": f"MODE_{design.mode.name}"})


def encode_alias(alias: Alias) -> pb.Alias:
    """Write an alias."""
    return pb.Alias(
        name=alias.name,
        target=alias.target,
        version=alias.number,
        effective_at=_timestamp(alias.effective_at),
        author=alias.author,
        reason=alias.reason,
    )


def encode_explanation(explanation: Explanation, arms: Iterable[Arm]) -> pb.AssignResponse:
    """Write what a unit gets, and why; `arms` are those of the experiment."""
    arm = next(arm for arm in arms if arm.name == explanation.arm)
    return pb.AssignResponse(
        experiment=explanation.experiment,
        version=explanation.number,
        unit=explanation.unit,
        arm=arm.name,
        model=arm.model,
        model_version=arm.version,
        assignment=explanation.why.value,
        sentence=explanation.sentence,
        checks=(
            pb.Check(
                question=check.question,
                salt=check.salt,
                bucket=check.bucket,
                start=check.start,
                stop=check.stop,
                passed=check.passed,
            )
            for check in explanation.checks
        ),
    )


def encode_receipts(answers: Sequence[tuple[Receipt, str]]) -> list[pb.OutcomeReceipt]:
    """Write what became of each outcome or label."""
    return [
        pb.OutcomeReceipt(receipt=f"RECEIPT_{receipt.name}", message=message) for receipt, message in answers
    ]


def encode_report(report: Mapping[str, Any]) -> pb.GetReportResponse:
    """Write a report, given as REST gives it."""
    return pb.GetReportResponse(
        name=report["experiment"],
        version=report["version"],
        verdict=f"VERDICT_{report['verdict'].upper()}",
        sentence=report["sentence"],
        at=_timestamp(report["at"]),
        rows=map(_row, report["rows"]),
        report=encode_struct(report),
    )


def encode_struct(document: Mapping[str, Any]) -> Struct:
    """Write any document; integers become doubles there, as in JavaScript."""
    struct = Struct()
    struct.update(document)
    return struct


def encode_pair(row: PairRow) -> pb.Pair:
    """Write one image that arms answered."""
    said = zip(row.said, row.confidence, row.latency_us, strict=True)
    return pb.Pair(
        prediction=row.prediction,
        item=row.item,
        unit=row.unit,
        phase=row.phase,
        at=_timestamp(row.at),
        label=row.label,
        answers=(
            pb.Answer(
                label=label,
                confidence=None if math.isnan(confidence) else confidence,
                latency_us=latency_us,
            )
            for label, confidence, latency_us in said
        ),
    )


def _row(row: Mapping[str, Any]) -> pb.MetricRow:
    return pb.MetricRow(**{key: row[key] for key in (*_ROW_KEYS, *_ROW_FIGURES)})


def _document(message: Message) -> dict[str, Any]:
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401  whatever a field holds
    if field.enum_type:
        return _word(field.enum_type, value)
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.message_type in _LISTS:
        return [_document(item) for item in value.items]
    return [_document(item) for item in value] if field.is_repeated else _document(value)


def _word(kind: EnumDescriptor, number: int) -> str:
    """The word of JSON for a value of an enumeration: MODE_SPLIT of Mode is "split"."""
    known = kind.values_by_number.get(number)
    if known is None:
        raise InvalidRequestError(f"{kind.name.lower()}: is {show(number)}, which is no value of {kind.name}")
    return known.name.removeprefix(f"{kind.name.upper()}_").lower()


def _timestamp(at: float) -> Timestamp:
    found = Timestamp()
    found.FromMicroseconds(round(at * 1e6))
    return found
