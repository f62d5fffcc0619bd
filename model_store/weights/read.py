"""Read weights from a file that a training wrote: safetensors, or a torch file, never its objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from model_store import checkpoint
from model_store.errors import InputError
from model_store.weights.layout import Weights

WRAPPERS: Final = (
    "state_dict",
    "state_dict_ema",
    "model_state_dict",
    "ema_state_dict",
    "model",
    "model_ema",
    "net",
    "network",
)
"""Keys under which training scripts keep the weights beside an optimiser's state and the like."""

PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel, torch.compile and wrapping classes put before every name."""

COUNTERS: Final = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Ends of the names of what is no weight: counts of batches, of averaged nets, of a profiler's operations."""

LOSSES: Final = re.compile(r"^(?:module\.|_orig_mod\.)*(?:criterion|loss|loss_fn|loss_func)\.")
"""Starts of the names of what only training needs: a trainer that holds net and loss writes both."""

_DEEPEST: Final = 4  # dicts around the weights
_HEADER_LENGTH: Final = 8  # bytes, little-endian; a JSON object follows


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A file's weights, freed from all wrappings.

    Attributes:
        path: Where they were read from.
        sha256: Of the file, as hexadecimal digits.
        tensors: The file's own name, without prefixes -> FP32 values, all finite.
        architecture: The zoo row that a file of our own format names; None: another format.
        card: What a file of our own format says for the archive's card.
    """

    path: Path
    sha256: str
    tensors: Weights
    architecture: str | None = None
    card: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def read(path: Path) -> WeightsFile:
    """Read weights; whatever else the file may hold is never executed.

    Wrappings are taken off: a dict around the weights (`WRAPPERS`), names' common prefixes (`PREFIXES`),
    counters (`COUNTERS`), a loss's weights (`LOSSES`), half and double precision.

    Raises:
        InputError: Unreadable, no weights, those of two nets (such as the mean over training beside the last
            ones), or a weight that is not finite; the message names the weight.
    """
    sha256 = _sha256(path)
    if _is_safetensors(path):
        return WeightsFile(path=path, sha256=sha256, tensors=_cleaned(_read_safetensors(path), path))
    document = checkpoint.read_torch_file(path)
    if not checkpoint.is_own(document):
        return WeightsFile(path=path, sha256=sha256, tensors=_cleaned(_unwrapped(document, path), path))
    own = checkpoint.from_document(document, path)
    return WeightsFile(
        path=path,
        sha256=sha256,
        tensors=_cleaned(own.state_dict, path),
        architecture=own.architecture,
        card=own.card,
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"checkpoint: cannot read {str(path)!r}: {error.strerror}") from error


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEADER_LENGTH + 1)
    length = int.from_bytes(head[:_HEADER_LENGTH], "little")
    is_one = head[_HEADER_LENGTH:] == b"{" and length <= path.stat().st_size
    return is_one or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> Weights:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise InputError(f"checkpoint: {str(path)!r} must be a safetensors file: {error}") from error


def _unwrapped(document: object, path: Path) -> Weights:
    """Return the names and tensors in a document, or in the dicts around them."""
    inner = document
    for _ in range(_DEEPEST):  # a document may hold itself
        if not isinstance(inner, Mapping):
            break
        mappings = {name: inner[name] for name in WRAPPERS if isinstance(inner.get(name), Mapping)}
        _require_one_net(mappings, path)
        inner = next(iter(mappings.values()), inner)
    if not isinstance(inner, Mapping):
        raise InputError(
            f"checkpoint: {str(path)!r} must hold a dict of names and tensors, got {type(inner).__name__}"
        )
    for name, value in inner.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"checkpoint: {str(path)!r}: {name!r} must be a tensor with a name, got "
                f"{type(value).__name__}; weights lie at the top or under {', '.join(WRAPPERS)}"
            )
    return inner


def _require_one_net(mappings: Mapping[str, Mapping[Any, Any]], path: Path) -> None:
    """Refuse two sets of weights: they differ, and nothing tells which of them is to be served."""
    found = [
        name
        for name, mapping in mappings.items()
        if any(isinstance(value, Tensor) for value in mapping.values())
    ]
    if len(found) > 1:
        raise InputError(
            f"checkpoint: {str(path)!r} holds weights under {' and under '.join(found)}; save those that are "
            f"wanted alone: torch.save(document[{found[-1]!r}], FILE)"
        )


def _cleaned(weights: Weights, path: Path) -> Weights:
    """Return the weights under their bare names, in FP32."""
    kept = {key: value for key, value in weights.items() if not (key.endswith(COUNTERS) or LOSSES.match(key))}
    if not kept:
        raise InputError(f"checkpoint: {str(path)!r} must hold weights, found none")
    while prefix := next((one for one in PREFIXES if all(key.startswith(one) for key in kept)), None):
        kept = {key.removeprefix(prefix): value for key, value in kept.items()}
    return {key: _as_float32(key, value) for key, value in kept.items()}


def _as_float32(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point() or value.layout != torch.strided or value.is_nested:
        raise InputError(f"checkpoint: {key} must hold floating-point numbers, got {value.dtype}")
    # A few bytes may claim to be a weight of any size: all its elements the same one, or none at all.
    if value.is_meta or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"checkpoint: {key} must hold a number for each of its {value.numel()} elements")
    value = value.detach().to(torch.float32)
    wrong = int((~value.isfinite()).sum())
    if wrong:
        raise InputError(f"checkpoint: {key} must hold finite numbers, {wrong} of {value.numel()} are not")
    return value
