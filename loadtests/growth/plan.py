"""How much is measured of each sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The places of each sweep, and how long each is looked at.

    Attributes:
        rounds: How often each place has its turn, where turns are taken.
        phases: The same, where each is a phase of load.
        phase_s: Length of such a phase.
        batches: Images in a batch.
        callers: Concurrent ones.
        models: Loaded at once.
        experiments: Configured and running.
        sides: Width and height of images, in pixels.
        calls: Of a lone caller.
        requests: For each number of experiments.
    """

    rounds: int = 5
    phases: int = 2
    phase_s: float = 8.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    callers: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    models: tuple[int, ...] = (1, 2, 5, 10, 15, 20)
    experiments: tuple[int, ...] = (1, 10, 100, 300, 1000)
    sides: tuple[int, ...] = (112, 224, 384, 512, 768, 1024, 1536, 2048)
    calls: int = 30
    requests: int = 600


QUICK: Final = Plan(
    rounds=3,
    phases=1,
    phase_s=3.0,
    batches=(1, 4, 16),
    callers=(1, 4, 16, 32),
    models=(1, 2, 4),
    experiments=(1, 10, 100),
    sides=(112, 224, 512, 1024, 2048),
    calls=10,
    requests=200,
)
