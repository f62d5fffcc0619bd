"""The project's own checkpoint: a torch file of plain values and tensors, readable with weights_only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import Tensor, nn

from model_store.errors import InputError
from model_store.signature import require_card

FORMAT: Final = "attnserve/1"
_NAMED_IN_MESSAGES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights and where they came from.

    Attributes:
        architecture: A name in the zoo.
        state_dict: Name -> tensor.
        card: Free, plain values; goes onto the archive's card.
    """

    architecture: str
    state_dict: Mapping[str, Tensor]
    card: Mapping[str, Any]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint."""
    document = {
        "format": FORMAT,
        "architecture": checkpoint.architecture,
        "state_dict": dict(checkpoint.state_dict),
        "card": dict(checkpoint.card),
    }
    torch.save(document, path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; only plain values and tensors are ever unpickled.

    Raises:
        InputError: Not a readable file of the format; the message names the path and the rule.
    """
    try:
        with warnings.catch_warnings():
            # Given a TorchScript file torch.load warns first and then fails: once is enough.
            warnings.filterwarnings("ignore", category=UserWarning, message=".*TorchScript archive")
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"checkpoint: cannot read {str(path)!r}: {error.strerror}") from error
    except (RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        # torch's own text advises to allow the execution of whatever the file holds.
        raise InputError(
            f"checkpoint: {str(path)!r} must be a torch.save file of tensors and plain values"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise InputError(
            f"checkpoint: {str(path)!r} must hold a dict with format {FORMAT!r}, found {found!r}"
        )
    try:
        found = Checkpoint(
            architecture=document["architecture"], state_dict=document["state_dict"], card=document["card"]
        )
        _require_weights(found.state_dict)
        require_card(found.card)
    except KeyError as error:
        raise InputError(f"checkpoint: {str(path)!r} lacks the key {error.args[0]!r}") from error
    except InputError as error:
        raise InputError(f"checkpoint: {str(path)!r}: {error}") from error
    return found


def load_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a net, all of them or none.

    Raises:
        InputError: Keys are missing, unexpected or of another shape; the message counts and names them.
    """
    wanted = net.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {list(weights[name].shape)} for {list(wanted[name].shape)}"
            for name in wanted.keys() & weights.keys()
            if weights[name].shape != wanted[name].shape
        ],
    }
    found = [f"{len(names)} {kind}: {_shortened(names)}" for kind, names in problems.items() if names]
    if found:
        raise InputError(f"checkpoint: the weights do not fit the architecture; {'; '.join(found)}")
    net.load_state_dict(weights)


def _require_weights(weights: object) -> None:
    if not isinstance(weights, dict):
        raise InputError(f"state_dict: must be a dict of names and tensors, got {type(weights).__name__}")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"state_dict[{name!r}]: must be a tensor with a name, got {type(value).__name__}"
            )


def _shortened(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(ordered[:_NAMED_IN_MESSAGES])
    return f"{shown}, ..." if len(ordered) > _NAMED_IN_MESSAGES else shown
