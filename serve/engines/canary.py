"""The prediction that shows whether an engine can answer: /ping and Describe say yes too early."""

from __future__ import annotations

import numpy as np

from serve.core.card import ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, Items, Kind
from serve.engines.base import Engine

CANARY_TIMEOUT_S = 30.0


async def canary(engine: Engine, card: ModelCard, timeout_s: float) -> None:
    """Predict one grey image, and see that what comes back is finite.

    Raises:
        EngineError: It is not, or there is no answer.
    """
    height, width = card.input_size
    blob = np.zeros((1, 3, height, width), dtype="<f4").tobytes()
    items = Items(kind=Kind.INPUT, blobs=(blob,), shape=(1, 3, height, width))
    batch = Batch(parts=(items,), outputs=frozenset({"probabilities"}))
    reply = await engine.predict(card.ref, batch, timeout_s)
    rows = reply.outputs["probabilities"]
    if reply.status != (0,) or rows.shape != (1, card.classes) or not np.isfinite(rows).all():
        why = reply.messages.get(0, f"shape {rows.shape}")
        raise EngineError(
            f"{card.ref}: the canary prediction failed: {why}", reason="garbled", retryable=False
        )
