"""A whole gateway with planted engines, in this process: both doors, metrics, a ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from serve.app import Gateway
from serve.sections import AttemptsConfig, BatchingConfig, ExperimentsConfig, TokenConfig
from serve.settings import Config
from tests.e2e.experimenter import Ask, Experimenter, experimenter
from tests.e2e.planted import LABELS, PlantedEngine, Truth, planted

POLL_S = 0.25
# One engine runs so many calls at once: no call waits for another.
WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGateway:
    """A running gateway.

    Attributes:
        engines: By their model's name.
        people: Who talk to its REST door.
    """

    gateway: Gateway
    engines: Mapping[str, PlantedEngine]
    people: Experimenter

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of a series; None where there is none."""
        return self.gateway.registry.get_sample_value(name, labels)


@asynccontextmanager
async def trial_gateway(
    folder: Path,
    truths: Mapping[str, Truth],
    *,
    seed: int = 0,
    attempts: int = 1,
    experiments: ExperimentsConfig | None = None,
    tokens: tuple[TokenConfig, ...] = (),
) -> AsyncIterator[TrialGateway]:
    """A gateway that serves these models.

    Args:
        folder: Its run_dir; the ledger is there, too, unless `experiments` says otherwise.
        truths: What is true of each model.
        seed: Of all that chance decides about them.
        attempts: Most attempts for a call; with 1 nothing is tried again.
        experiments: Settings of experiments.
        tokens: Without any, everybody may do everything.
    """
    engines, fleet_of = planted(truths, seed)
    config = Config(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        run_dir=folder,
        batching=BatchingConfig(max_batch_images=1),
        # A planted failure is one of a call, not of the engine: some in a row must not eject the only one.
        attempts=AttemptsConfig(workers=WORKERS, attempts=attempts, failures_to_eject=WORKERS),
        experiments=experiments or ExperimentsConfig(poll_interval_s=POLL_S),
        tokens=tokens,
    )
    gateway = Gateway(config, fleet_of)
    try:
        await gateway.start()
        running = asyncio.create_task(gateway.run())
        try:
            async with experimenter(gateway.addresses.http) as people:
                yield TrialGateway(gateway=gateway, engines=engines, people=people)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await gateway.close()


def planted_asks(seed: int, count: int) -> Iterator[Ask]:
    """Requests of one image each, every one another unit's."""
    chance = random.Random(seed)  # noqa: S311  draws images
    for number in range(count):
        label = chance.choice(LABELS)
        yield Ask(unit=f"unit-{seed}-{number}", image=f"{label}:{seed}.{number}".encode(), label=label)
