"""What the states, verdicts and acts are called on the page, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """How a verdict is shown.

    Attributes:
        text: In capitals or not, as it stands.
        tone: The name of its colours in style.css.
        sign: A character that tells it from the others without colour.
        meaning: One sentence.
    """

    text: str
    tone: str
    sign: str
    meaning: str


VERDICTS: Mapping[str, Badge] = {
    "better": Badge(
        text="Better", tone="good", sign="▲", meaning="The arm is better than the control; that is decided."
    ),
    "worse": Badge(
        text="Worse", tone="bad", sign="▼", meaning="The arm is worse than the control; that is decided."
    ),
    "no_difference": Badge(
        text="No difference that matters",
        tone="even",
        sign="=",
        meaning="Any difference is smaller than the margin; that is decided.",
    ),
    "undecided": Badge(
        text="Undecided",
        tone="open",
        sign="…",
        meaning="The data so far allow both a difference and none; more data may decide.",
    ),
    "insufficient_data": Badge(
        text="Not enough data",
        tone="open",
        sign="○",
        meaning="There is too little data to say anything; this is neither a pass nor a failure.",
    ),
    "broken": Badge(
        text="Comparison broken",
        tone="warn",
        sign="✕",
        meaning="The arms cannot be compared fairly; find the cause before reading any difference.",
    ),
    "guardrail_tripped": Badge(
        text="Guardrail tripped",
        tone="bad",
        sign="■",
        meaning="Something that must not get worse did; the control answers again.",
    ),
}
NO_VERDICT = Badge(text="No data yet", tone="open", sign="○", meaning="Nothing has been evaluated so far.")

STATES: Mapping[str, str] = {
    "draft": "draft, not started",
    "running": "running",
    "paused": "paused",
    "promoted": "ended: an arm was promoted",
    "rolled_back": "ended: rolled back to the control",
    "stopped": "ended: stopped",
}

MODES: Mapping[str, str] = {
    "split": "each unit is answered by one arm",
    "shadow": "the control answers, the other arms see the same images afterwards",
    "paired": "the control answers, the other arms see the same images at the same time",
}

METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "agreement": "agreement",
    "latency_p50": "median latency",
    "latency_p99": "99th percentile of latency",
    "error_rate": "error rate",
}

AUTHORS: Mapping[str, str] = {
    "guardrail": "a guardrail, by itself",
    "policy": "the policy written down beforehand",
}

# Acts that the drawing of the difference marks: after them other units take part.
MARKED: Mapping[str, str] = {
    "start": "start, {ramp} %",
    "ramp": "ramp {ramp} %",
    "patch": "changed",
    "pause": "paused",
    "resume": "resumed",
    "promote": "promoted",
    "rollback": "rolled back",
    "stop": "stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """How the state of a check is shown."""

    text: str
    tone: str
    sign: str


_NOTHING = Alert(text="No data yet", tone="open", sign="○")
ALERTS: Mapping[str, Alert] = {
    "ok": Alert(text="OK", tone="good", sign="✓"),
    "warn": Alert(text="Look into it", tone="warn", sign="!"),
    "broken": Alert(text="Broken", tone="bad", sign="✕"),
    "clear": Alert(text="No proof of harm", tone="good", sign="✓"),
    "tripped": Alert(text="Tripped", tone="bad", sign="■"),
    "insufficient": Alert(text="Not enough data", tone="open", sign="○"),
    "": _NOTHING,
}
