"""What an arm said of a request's images as one short text, such as "7:9876,-,3:5000".

An image is its class and the probability in 1/10 000; "-" stands for one that has no answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve.core.record import Said

Answers = tuple[Said | None, ...]

_NONE = "-"


def encoded(answers: Sequence[Said | None]) -> str:
    """The text; "" for no images."""
    return ",".join(_NONE if said is None else f"{said.top1}:{said.confidence}" for said in answers)


def decoded(text: str) -> Answers:
    """What `encoded` was given."""
    return tuple(map(_said, text.split(","))) if text else ()


def _said(text: str) -> Said | None:
    if text == _NONE:
        return None
    top1, confidence = text.split(":")
    return Said(top1=int(top1), confidence=int(confidence))
