"""Designs and experiments for the tests of the core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serve.core.designs import design_of
from serve.core.edits import Stamp, create
from serve.core.experiment import Design, Experiment, State

STAMP = Stamp(author="ann", reason="because", created_at=100.0, effective_at=104.0)


def arms_of(*weights: int | None) -> list[dict[str, Any]]:
    """Arms a, b, c, ... with these weights; None leaves the weight out."""
    return [
        {"name": name, "model": f"digits_{name}", "version": "1"}
        | ({} if weight is None else {"weight": weight})
        for name, weight in zip("abcdefghij", weights, strict=False)
    ]


def document(name: str = "test", **changes: Any) -> dict[str, Any]:  # noqa: ANN401  whatever JSON holds
    """A design as JSON: by default two arms that split the units in halves."""
    return {"name": name, "mode": "split", "arms": arms_of(5000, 5000)} | changes


def a_design(name: str = "test", **changes: Any) -> Design:  # noqa: ANN401  as above
    """The design of such a document."""
    return design_of(document(name, **changes))


def a_draft(name: str = "test", **changes: Any) -> Experiment:  # noqa: ANN401  as above
    """Its first version."""
    return create(a_design(name, **changes), STAMP)


def running(name: str = "test", **changes: Any) -> Experiment:  # noqa: ANN401  as above
    """Such an experiment, begun; for tests that need no labels."""
    return replace(a_draft(name, **changes), state=State.RUNNING)
