"""The checks of whether the comparison can be trusted: one card a check, one line an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve.reporting.node import Node

_WORST_FIRST = ("broken", "warn", "", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        state: The worst of its lines'.
        lines: (arm, what was found); the arm is "" where it is about all of them.
    """

    title: str
    definition: str
    state: str
    lines: Sequence[tuple[str, str]]


def checks(rows: Sequence[Node]) -> list[Check]:
    """The report's health, with the arms of each check together; what is wrong comes first."""
    groups: dict[str, list[Node]] = {}
    for row in rows:
        groups.setdefault(row.text("check") or row.text("title"), []).append(row)
    found = [
        Check(
            title=group[0].text("title"),
            definition=group[0].text("definition"),
            state=min((row.text("state") for row in group), key=_rank),
            lines=[(row.text("arm"), row.text("words")) for row in group],
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda check: _rank(check.state))


def _rank(state: str) -> int:
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else _WORST_FIRST.index("")
