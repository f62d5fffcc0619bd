"""Gateways that share a ledger and a clock which only moves when told to: no doors, no engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from serve.audit import AuditLog
from serve.core.call import Call
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.experiment import Experiment
from serve.core.messages import ModelRef
from serve.core.record import CallRecord, Role, Said, Ticket
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments.desk import Desk
from serve.experiments.desk_parts import DeskParts
from serve.experiments.editing import ActRequest
from serve.experiments.keys import Keys
from serve.experiments.plans import Plans
from serve.experiments.steward import Steward
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger
from serve.metrics import Metrics
from serve.repository import Entry, Repository

POLL_S = 2.0
TOKEN_LIFE_S = 3600.0
LABELS = tuple("0123456789")
KEYS = f"unit_key: {'a' * 64}\ntoken_keys: [{'b' * 64}]\n".encode()
ANNA = Call(protocol="http", principal="anna")
PLAIN = ActRequest(reason="test")
MODELS = {
    "digits_se:1": LABELS,
    "digits_se:2": LABELS,
    "digits_eca:1": LABELS,
    "digits_words:1": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
}


@dataclass
class Clock:
    """Unix time that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gateway:
    """One gateway's part in experiments."""

    ledger: Ledger
    clock: Clock
    lines: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.metrics = ExperimentMetrics(self.registry)
        self.threads = LedgerThreads()
        self.repository = Repository(metrics)
        for model, labels in MODELS.items():
            self.load(model, labels)
        self.keys = Keys()
        self.keys.replace(KEYS, "keys.yaml")
        self.audit = AuditLog(self.lines.append, metrics)
        self.plans = Plans(self.ledger, self.threads, metrics, self.clock, POLL_S)
        parts = DeskParts(
            repository=self.repository,
            ledger=self.ledger,
            threads=self.threads,
            readers=self.threads,
            plans=self.plans,
            keys=self.keys,
            audit=self.audit,
            poll_interval_s=POLL_S,
            token_life_s=TOKEN_LIFE_S,
            clock=self.clock,
        )
        self.desk = Desk(parts)
        self.steward = Steward(self.desk, parts, self.metrics)

    def load(self, model: str, labels: tuple[str, ...]) -> None:
        """Make "name:version" known and ready."""
        name, _, version = model.partition(":")
        ref = ModelRef(name=name, version=version)
        self.repository.put(Entry(ref=ref, state=ModelState.READY, card=_card(ref, labels)))

    async def poll(self) -> None:
        """What happens at every poll."""
        await self.plans.refresh()
        await self.steward.look()

    async def act(self, name: str, act: str, request: ActRequest = PLAIN) -> Experiment:
        """Ask the desk for an act."""
        return await self.desk.act(name, act, request, ANNA)

    async def started(self, **changes: object) -> Experiment:
        """Create an experiment and start it; it is in force."""
        draft = await self.desk.create(design(**changes), "test", ANNA)
        await self.act(draft.name, "start")
        await self.passes(2 * POLL_S)
        return self.desk.get(draft.name)

    async def passes(self, seconds: float) -> None:
        """Let time pass, and take in what that puts in force."""
        self.clock.now += seconds
        await self.plans.refresh()

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of a series; None where there is none."""
        return self.registry.get_sample_value(f"attnserve_experiment_{name}", labels)

    def token(self, experiment: Experiment, prediction: str, unit: str, images: int = 1) -> str:
        """A feedback token as a reply carries it."""
        ticket = Ticket(
            experiment=experiment.id,
            version=experiment.number,
            phase=experiment.phase,
            prediction=prediction,
            unit=unit,
            arm=0,
            issued_at=int(self.clock()),
            answers=(Said(top1=3, confidence=9000),) * images,
        )
        return self.keys.tokens.sign(ticket)


@asynccontextmanager
async def gateways(
    folder: Path, count: int = 1, clock: Clock | None = None
) -> AsyncIterator[Sequence[Gateway]]:
    """Some gateways on one SQLite file, each with connections of its own."""
    shared = clock or Clock()
    made = [Gateway(Ledger.open(f"sqlite:///{folder}/experiments.db"), shared) for _ in range(count)]
    try:
        yield made
    finally:
        for gateway in made:
            await gateway.desk.close(1.0)
            gateway.audit.close()
            gateway.threads.close()
            gateway.ledger.close()


def design(**changes: object) -> dict[str, Any]:
    """A design as JSON: two arms, split."""
    plain: dict[str, Any] = {
        "name": "se-or-eca",
        "mode": "split",
        "arms": [arm("se", weight=5000), arm("eca", weight=5000)],
    }
    return {**plain, **changes}


def arm(name: str, model: str = "", version: str = "1", **more: object) -> dict[str, Any]:
    """An arm as JSON."""
    return {"name": name, "model": model or f"digits_{name}", "version": version, **more}


def calls(experiment: Experiment, arm_index: int, count: int, failed: int = 0) -> list[CallRecord]:
    """Calls of different units, of which the first ones fail."""
    place = experiment.design.arms[arm_index]
    return [
        CallRecord(
            experiment=experiment.id,
            version=experiment.number,
            phase=experiment.phase,
            prediction=f"{arm_index:016x}{number:016x}",
            unit=f"{arm_index:016x}{number:016x}",
            arm=arm_index,
            role=Role.SERVED,
            at=1_800_000_000.0 + number,
            model=place.model,
            model_version=place.version,
            outcome="internal" if number < failed else "ok",
            failed=number < failed,
            latency_us=10_000 + number % 7,
            queue_us=100,
            answers=() if number < failed else (Said(top1=number % 10, confidence=9000),),
        )
        for number in range(count)
    ]


def _card(ref: ModelRef, labels: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        ref=ref,
        labels=labels,
        input_size=(8, 8),
        attention="se",
        attention_layout=(),
        trained=True,
        max_batch=16,
        contents_sha256="c" * 64,
        signature={},
    )
