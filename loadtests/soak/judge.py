"""The verdict on one exchange: answered rightly, refused rightly, or lost. Pure.

A refusal is right only by one of these rules:

- the request is bad, and the refusal is the one that this flaw asks for;
- the caller's deadline was under `SHORT_S`: it may be told that it is too late, or that too many wait;
- the caller hung up itself;
- no engine was there at that moment, because the run had taken all of them away.

Everything else is lost, above all an error while an engine is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from loadtests.soak.flaws import CORRUPT, TOO_LARGE
from loadtests.soak.questions import Item, Question, Stock
from loadtests.soak.replies import Answer, Broken, Column, Expired, HungUp, Refusal, Reply, Silence
from serve.core.errors import Code
from serve.core.query import DEFAULT_OUTPUTS
from serve.metrics import OUTCOMES

# How the gateway may have counted a request of which we did not see the end, if it saw it at all.
OPEN: Final = "open"
OPEN_OUTCOMES: Final = frozenset({"ok", "cancelled", "timeout", "shed", "unavailable"})
UNCOUNTED: Final = ""
_SHED: Final = frozenset({Code.DEADLINE, Code.OVERLOADED})
_UNREADABLE_IMAGE: Final = 3  # gRPC's INVALID_ARGUMENT, in the output `status`


class End(Enum):
    """How a request ended; every one ends in exactly one of these."""

    RIGHT = "answered rightly"
    REFUSED = "refused rightly"
    LOST = "lost or wrong"


@dataclass(frozen=True, slots=True)
class Ending:
    """The verdict.

    Attributes:
        reason: Of a small set, for counting.
        counted: The gateway's label `outcome` for it, `OPEN`, or `UNCOUNTED`.
        detail: What was seen, for the reader of a failed run.
    """

    end: End
    reason: str
    counted: str
    detail: str = ""


_EXPIRED = Ending(End.REFUSED, "deadline under a second", OPEN)
_HUNG_UP = Ending(End.REFUSED, "the caller hung up", OPEN)
_TOO_LATE = Ending(End.LOST, "no answer in time", OPEN)


def judge(question: Question, reply: Reply, stock: Stock, *, outage: bool) -> Ending:
    """Say how a request ended.

    Args:
        question: What was asked.
        reply: What came back.
        stock: Has the right answers.
        outage: Whether all engines had been taken away at any time between question and reply.
    """
    match reply:
        case Answer():
            return _judge_answer(question, reply, stock)
        case Refusal():
            return _judge_refusal(question, reply, outage=outage)
        case HungUp():
            return _HUNG_UP
        case Expired():
            return _EXPIRED if question.short else _TOO_LATE
        case Silence():
            return _TOO_LATE
        case Broken():
            return Ending(End.LOST, "broken off", OPEN, reply.text)


def answer_fault(question: Question, answer: Answer, stock: Stock) -> str:
    """What is wrong with an answer; "" when nothing is."""
    if question.flaw:
        return f"answered, although it has the flaw {question.flaw.name!r}"
    asked = (question.request_id, question.model.name, question.model.version)
    given = (answer.request_id, answer.model, answer.version)
    if given != asked:
        return f"asked as {asked}, answered as {given}"
    names = set(question.outputs or (output.name for output in DEFAULT_OUTPUTS))
    names |= {"status"} if question.partial else set()
    if names != answer.outputs.keys():
        return f"asked for {sorted(names)}, got {sorted(answer.outputs)}"
    faults = (_CHECKS[name](question, column, stock) for name, column in answer.outputs.items())
    return next(filter(None, faults), "")


def _label_fault(question: Question, column: Column, stock: Stock) -> str:
    expected = tuple(
        stock.expected[question.model.name, item.name].label if item.good else "" for item in question.items
    )
    return "" if column == expected else f"labels are {column}, expected {expected}"


def _probabilities_fault(question: Question, column: Column, stock: Stock) -> str:
    rows = np.asarray(column)
    if rows.shape != (len(question.items), stock.classes):
        return f"probabilities have the shape {rows.shape}"
    for index, (row, item) in enumerate(zip(rows, question.items, strict=True)):
        wrong = np.isfinite(row).any() if not item.good else _is_wrong(row, item, question, stock)
        if wrong:
            return f"probabilities of image {index} ({item.name}) are {row.tolist()}"
    return ""


def _is_wrong(row: Column, item: Item, question: Question, stock: Stock) -> bool:
    right = stock.expected[question.model.name, item.name]
    probability = float(np.asarray(row)[right.index])
    return not abs(probability - right.probability) <= stock.tolerance


def _status_fault(question: Question, column: Column, _stock: Stock) -> str:
    expected = [0 if item.good else _UNREADABLE_IMAGE for item in question.items]
    given = np.asarray(column).tolist()
    return "" if given == expected else f"status is {given}, expected {expected}"


def _attention_fault(question: Question, column: Column, _stock: Stock) -> str:
    expected = (len(question.items), question.model.gates)
    shape = np.asarray(column).shape
    return "" if shape == expected else f"attention has the shape {shape}, expected {expected}"


_CHECKS = {
    "label": _label_fault,
    "probabilities": _probabilities_fault,
    "status": _status_fault,
    "attention": _attention_fault,
}


def _judge_answer(question: Question, answer: Answer, stock: Stock) -> Ending:
    wrong = answer_fault(question, answer, stock)
    if wrong:
        return Ending(End.LOST, "wrong answer", "ok", wrong)
    return Ending(End.RIGHT, "all of it" if question.bad_at is None else "all but the bad image", "ok")


def _judge_refusal(question: Question, refusal: Refusal, *, outage: bool) -> Ending:
    counted = _counted(question, refusal)
    flaw = question.flaw
    if flaw and flaw.code in refusal.codes and _wanted_text(question) in refusal.text:
        return Ending(End.REFUSED, f"bad request: {flaw.name}", counted)
    if question.short and refusal.codes & _SHED:
        return Ending(End.REFUSED, _EXPIRED.reason, counted)
    if question.cancel_after_s is not None and Code.CALLER_GONE in refusal.codes:
        return _HUNG_UP
    if outage and Code.UNAVAILABLE in refusal.codes:
        return Ending(End.REFUSED, "no engine was there", counted)
    codes = "|".join(sorted(code.value for code in refusal.codes))
    what = f"bad request refused as {codes}" if flaw else f"refused as {codes}"
    return Ending(End.LOST, what, counted, f"{flaw.name if flaw else ''} {refusal.text}".strip())


def _wanted_text(question: Question) -> str:
    """What the right refusal of a flaw says; of an image that cannot be read, which one it is."""
    if question.flaw is CORRUPT:
        return f"image [{question.bad_at}]"
    return question.flaw.text if question.flaw else ""


def _counted(question: Question, refusal: Refusal) -> str:
    if not refusal.by_gateway or (question.flaw is TOO_LARGE and question.way.protocol == "grpc"):
        return UNCOUNTED
    expected = question.flaw.code if question.flaw else Code.OVERLOADED
    code = expected if expected in refusal.codes else next(iter(refusal.codes))
    return OUTCOMES[code]
