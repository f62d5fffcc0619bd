"""The port to whatever runs a batch; the smallest set of verbs that the gateway needs."""

from __future__ import annotations

from typing import Protocol

from serve.core.card import ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply, ModelRef


class Engine(Protocol):
    """Something that runs batches of images through models that it already holds.

    Every verb is idempotent: inference changes nothing, so a lost attempt may be repeated on
    another engine. Every verb ends within `timeout_s`, whatever the engine does.
    """

    @property
    def name(self) -> str:
        """Bounded, stable label of this engine in metrics and logs; no two engines share one."""
        ...

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Run one batch; the reply has a row for each image in every output that the batch asks for.

        Raises:
            EngineError: This attempt failed; its `reason` and `retryable` say how.
        """
        ...

    async def describe(self, ref: ModelRef, timeout_s: float) -> ModelCard:
        """Ask for the card of a model that the engine holds; `ref.version` may be "" (the default one).

        Raises:
            EngineError: The engine does not answer, or does not hold the model.
        """
        ...

    async def close(self, grace_s: float = 0.0) -> None:
        """Release connections; calls that run may end within `grace_s`, and then fail with `EngineError`."""
        ...


class ModelControl(Protocol):
    """What can also load and unload models: a TorchServe that this gateway supervises."""

    async def load(self, archive: str, timeout_s: float) -> None:
        """Register the archive file of that name in the engine's store, and wait until a worker is ready.

        Raises:
            EngineError: It could not be loaded; the message says why.
        """
        ...

    async def unload(self, ref: ModelRef, timeout_s: float) -> None:
        """Forget a version; its worker ends. A version that is not there is no error."""
        ...


def check_reply(reply: BatchReply, batch: Batch, engine: str) -> None:
    """See that an engine kept its word, whatever it is: a row for every image in every output.

    Raises:
        EngineError: It did not.
    """
    rows = {name: len(reply.outputs.get(name, ())) for name in sorted(batch.outputs)}
    if reply.count != batch.count or any(count != batch.count for count in rows.values()):
        raise EngineError(
            f"engine {engine}: gave {reply.count} statuses and rows {rows} for {batch.count} images",
            reason="garbled",
        )
