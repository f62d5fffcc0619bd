"""What a unit would get, from the design alone: without a gateway, and the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve.core.assignment import Assigner
from serve.core.designs import design_of
from serve.core.edits import Stamp, create
from serve.core.errors import InvalidRequestError
from serve.core.experiment import State
from serve.edge.experiments_json import encode_explanation
from serve.terminal.files import InputError, read_mapping


def assignment(file: Path, unit: str) -> Mapping[str, Any]:
    """What a unit gets once that design runs, with the weights that it has; as REST answers.

    Raises:
        InputError: The file or the unit breaks a rule.
    """
    document = read_mapping(file)
    document.pop("reason", None)
    try:
        design = design_of(document)
        draft = create(design, Stamp(author="", reason="", created_at=0.0, effective_at=0.0))
        explanation = Assigner(replace(draft, state=State.RUNNING)).explain(unit)
    except InvalidRequestError as error:
        raise InputError(f"{file}: {error.message}") from None
    return encode_explanation(explanation, design.arms)
