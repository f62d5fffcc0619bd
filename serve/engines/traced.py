"""An attempt that is taken down in the traces of the requests that share its batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply
from serve.engines.roster import Holder


async def traced(work: Awaitable[BatchReply], holder: Holder, batch: Batch, number: int) -> BatchReply:
    """Await the work of an engine, and take down how it went.

    Args:
        work: Asks the engine once.
        holder: Which engine.
        batch: What it is asked; at least one of its requests is traced.
        number: Of the attempt for this batch, from 1.
    """
    first, *others = batch.traces
    facts: dict[str, str | int] = {
        "attnserve.engine": holder.engine.name,
        "attnserve.model.name": holder.ref.name,
        "attnserve.model.version": holder.ref.version,
        "attnserve.batch.images": batch.count,
        "attnserve.attempt": number,
    }
    attempt = first.attempt(facts, others)
    outcome, stages_s = "internal", dict[str, float]()
    try:
        reply = await work
        outcome, stages_s = "ok", reply.timings.stages_s
    except EngineError as error:
        outcome = error.reason
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        attempt.end(outcome, stages_s)
    return reply
