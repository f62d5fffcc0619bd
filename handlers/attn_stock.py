"""What a plain TorchServe client sends (one encoded image) and gets (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from .attn_archive import Signature
from .attn_decode import INVALID, ImageError
from .attn_wire import Buffer, Floats, ImagePart, Request

CONTENT_TYPE: Final = "application/json"
TOP: Final = 5
_KEYS: Final = ("body", "data")


def parse(row: Mapping[str, object]) -> Request:
    """Read one encoded image, under `body`, `data`, or the row's only key.

    Raises:
        ImageError: There is no image in the row.
    """
    named = [key for key in _KEYS if key in row] or list(row)
    if len(named) != 1:
        raise ImageError(
            INVALID, f"request: must hold one image under {' or '.join(_KEYS)}, got keys {sorted(row)}"
        )
    blob = row[named[0]]
    if not isinstance(blob, Buffer):
        # TorchServe has already parsed it, going by its content type.
        raise ImageError(
            INVALID,
            f"request: {named[0]} must be an image's bytes, got {type(blob).__name__}; check Content-Type",
        )
    return Request(outputs=("probabilities",), parts=(ImagePart(blobs=(blob,)),))


def encode(probabilities: Floats, signature: Signature) -> bytes:
    """The answer for probabilities float32 [K]: the label, and the most likely ones in falling order."""
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    ranked = {signature.labels[index]: float(probabilities[index]) for index in best}
    return _json(
        {
            "label": signature.labels[best[0]],
            "probabilities": ranked,
            "model": signature.name,
            "version": signature.version,
        }
    )


def encode_error(message: str) -> bytes:
    """The answer when there is none."""
    return _json({"error": message})


def _json(document: Mapping[str, object] | Sequence[object]) -> bytes:
    return json.dumps(document).encode()
