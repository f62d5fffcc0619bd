"""The project's own checkpoint: a torch file of plain values and tensors, readable with weights_only."""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import Tensor

from model_store.errors import InputError
from model_store.signature import require_card

FORMAT: Final = "attnserve/1"

# What torch.load raises for files that it did not write, or that were damaged.
_UNREADABLE: Final = (
    RuntimeError,
    UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
_DOUBTS: Final = ".*TorchScript archive|Detected pickle protocol"
_REFUSED_CLASS: Final = re.compile(r"GLOBAL ([\w.]+)")


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
    document = read_torch_file(path)
    if not is_own(document):
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise InputError(
            f"checkpoint: {str(path)!r} must hold a dict with format {FORMAT!r}, found {found!r}"
        )
    return from_document(document, path)


def is_own(document: object) -> bool:
    """Tell whether what was read is of this format."""
    return isinstance(document, dict) and document.get("format") == FORMAT


def from_document(document: Any, path: Path) -> Checkpoint:  # noqa: ANN401  what a file holds is checked here
    """Check the document of a file of this format.

    Raises:
        InputError: A key is missing or of the wrong type; the message names the path and the key.
    """
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


def read_torch_file(path: Path) -> Any:  # noqa: ANN401  whatever was saved
    """Read a file of torch.save onto the CPU; only plain values and tensors are ever unpickled.

    Raises:
        InputError: Unreadable, not such a file, one that unpacks to more than it is, or one with objects of
            classes, none of which is made.
    """
    _require_unpacked(path)
    try:
        with warnings.catch_warnings():
            # Given another kind of file torch.load warns first and then fails: once is enough.
            warnings.filterwarnings("ignore", category=UserWarning, message=_DOUBTS)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"checkpoint: cannot read {str(path)!r}: {error.strerror}") from error
    except _UNREADABLE as error:
        # torch's own text advises to allow the execution of whatever the file holds.
        raise InputError(f"checkpoint: {str(path)!r} {_reason(error)}") from error


def _require_unpacked(path: Path) -> None:
    """Refuse a zip file that holds more bytes than it has: torch.save neither compresses nor repeats any."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return  # of the format before, or no file of torch's: torch.load says which
    found = path.stat().st_size
    if held > found:
        raise InputError(
            f"checkpoint: {str(path)!r} must not be compressed: its {found} bytes would unpack to {held}"
        )


def _reason(error: Exception) -> str:
    refused = _REFUSED_CLASS.search(str(error))
    if refused:
        return (
            f"holds an object of {refused[1]}, and unpickling that would execute code; "
            "save the weights alone: torch.save(net.state_dict(), FILE)"
        )
    return "must be a torch.save or safetensors file of tensors and plain values"


def _require_weights(weights: object) -> None:
    if not isinstance(weights, dict):
        raise InputError(f"state_dict: must be a dict of names and tensors, got {type(weights).__name__}")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"state_dict[{name!r}]: must be a tensor with a name, got {type(value).__name__}"
            )
