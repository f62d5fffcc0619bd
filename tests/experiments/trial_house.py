"""A house in which two models are the arms of an experiment; records are kept in a list, not in a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from serve.core.assignment import Assigner, allocate
from serve.core.catalog import ModelState
from serve.core.experiment import Arm, Design, Experiment, Mode, State
from serve.core.feedback import FeedbackKeys, unit_hash
from serve.core.messages import InferRequest, InferResponse, ModelRef, Parameter
from serve.core.record import CallRecord, Dropped
from serve.engines.fake import FakeEngine, Pace
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments.keys import Keys
from serve.experiments.mirror import MirrorRoom
from serve.experiments.notes import Notes
from serve.experiments.plans import Standing
from serve.experiments.recorder import Recorder
from serve.experiments.threads import LedgerThreads
from serve.experiments.trials import TrialParts, Trials
from serve.inference import Progress
from serve.ledger.ledger import Ledger
from serve.repository import Entry
from tests.service.house import CALL, CARD, PACE, House, request_of
from tests.service.virtual_time import clock

SECRET = "5" * 64
KEYS = f"unit_key: '{SECRET}'\ntoken_keys: ['{'6' * 64}']\n".encode()
SAME = tuple(range(10))
OTHER = (*range(1, 10), 0)  # an arm of these labels never agrees with the control
ARM = replace(CARD, ref=ModelRef(name="digits_eca", version="1"))


class Records:
    """Takes what a ledger would; fails as long as `error` is set."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.drops: list[Dropped] = []
        self.error: Exception | None = None

    def write(self, calls: Sequence[CallRecord], drops: Sequence[Dropped]) -> None:
        """Keep them."""
        if self.error:
            raise self.error
        self.calls += calls
        self.drops += drops


class _Ledger:
    def __init__(self) -> None:
        self.records = Records()


class InLine:
    """Calls at once, in the loop, whatever the ledger's threads would be given."""

    async def run(self, function: Callable[..., Any], /, *args: object) -> object:
        """Call it."""
        return function(*args)


def design_of(mode: Mode = Mode.SPLIT, **more: object) -> Design:
    """An experiment of two arms."""
    weight = None if mode is Mode.SHADOW else 5000
    arms = (
        Arm(name="se", model=CARD.ref.name, version="1", weight=weight),
        Arm(name="eca", model=ARM.ref.name, version="1", weight=weight),
    )
    given: dict[str, Any] = {"name": "trial", "mode": mode, "arms": arms, **more}
    return Design(**given)


def running(design: Design, *, translation: tuple[int, ...] = SAME, **more: Any) -> Experiment:  # noqa: ANN401  fields
    """That experiment, running."""
    return replace(
        Experiment(
            id=7,
            number=2,
            design=design,
            state=State.RUNNING,
            phase=0,
            phases=(design.weights,),
            allocation=allocate(design.weights),
            labels=CARD.labels,
            translations=(SAME, *(translation for _ in design.arms[1:])),
            effective_at=0.0,
            created_at=0.0,
            act="start",
            author="test",
            reason="test",
        ),
        **more,
    )


@dataclass(kw_only=True)
class TrialHouse(House):
    """The control answers on `engine`, the arm on `arm_engine`."""

    arm_pace: Pace = PACE
    max_mirrors: int = 32
    max_mirror_bytes: int = 1 << 20
    max_queued: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.arm_engine = FakeEngine("arm", [ARM], self.arm_pace)
        self.repository.put(Entry(ref=ARM.ref, state=ModelState.READY, card=ARM))
        self.pool.attach(ARM.ref, self.arm_engine)
        self.experiment_metrics = ExperimentMetrics(self.registry)
        self._ledger = _Ledger()
        self.records = self._ledger.records
        self.recorder = Recorder(
            cast("Ledger", self._ledger),
            cast("LedgerThreads", InLine()),
            self.experiment_metrics,
            self.max_queued,
        )
        self.keys = Keys()
        self.keys.replace(KEYS, "test")
        parts = TrialParts(
            repository=self.repository,
            inference=self.inference,
            notes=Notes(self.recorder, self.experiment_metrics, self.keys),
            room=MirrorRoom(self.max_mirrors, self.max_mirror_bytes),
            mirror_timeout_s=10.0,
            clock=clock,
            now=lambda: 1_000_000 + clock(),
        )
        self.trials = Trials(parts)

    async def infer(
        self,
        experiment: Experiment,
        unit: str | None = "u",
        images: tuple[bytes, ...] = (b"a",),
        **more: Parameter,
    ) -> InferResponse:
        """Ask the experiment."""
        parameters = more if unit is None else {"unit": unit, **more}
        request: InferRequest = request_of(images, model=experiment.name, parameters=parameters)
        standing = Standing(experiment, Assigner(experiment))
        try:
            return await self.trials.infer(standing, request, CALL, Progress(started=clock()))
        finally:
            await asyncio.sleep(0)  # notes are taken once the answer is on its way

    async def written(self) -> list[CallRecord]:
        """What has been written down, mirrored calls that have ended included."""
        await self.recorder.flush()
        return self.records.calls

    def tokens(self) -> FeedbackKeys:
        """That sign the feedback tokens."""
        return self.keys.tokens

    def asked_of_arms(self) -> dict[str, float]:
        """Requests by arm, assignment and outcome, those that are not 0."""
        return {
            f"{sample.labels['arm']} {sample.labels['assignment']} {sample.labels['outcome']}": sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "attnserve_experiment_requests_total" and sample.value
        }


def hashed(unit: str) -> str:
    """What is kept of a unit."""
    return unit_hash(bytes.fromhex(SECRET), unit)


def unit_for(experiment: Experiment, arm: int) -> str:
    """A unit that gets that arm."""
    assigner = Assigner(experiment)
    return next(f"u{n}" for n in range(1000) if assigner.assign(f"u{n}").arm == arm)
