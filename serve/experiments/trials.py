"""One request to an experiment: who answers, and who else sees the image."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import structlog

from serve.core.assignment import Why
from serve.core.call import Call
from serve.core.errors import (
    CallerGoneError,
    Code,
    InternalError,
    NotFoundError,
    ServeError,
    UnavailableError,
)
from serve.core.experiment import Arm, Experiment, Mode, State
from serve.core.messages import InferRequest, InferResponse, Parameter
from serve.core.record import Role
from serve.experiments.case import Asked, Case, Heard, Made, Told, falls_back, is_failure, size_of, unit_of
from serve.experiments.ids import Ids
from serve.experiments.mirror import MirrorRoom, begin_trace, end_trace
from serve.experiments.notes import Notes
from serve.experiments.plans import Standing
from serve.experiments.recorder import MIRROR
from serve.experiments.saying import said
from serve.inference import OK, Answer, Inference, Progress
from serve.metrics import OUTCOMES
from serve.repository import Entry, Repository

log = structlog.get_logger(__name__)

_PROBABILITIES = frozenset({"probabilities"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialParts:
    """What trials need of the house; `clock` is the one that deadlines are told by, `now` gives Unix time."""

    repository: Repository
    inference: Inference
    notes: Notes
    room: MirrorRoom
    mirror_timeout_s: float
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time


class Trials:
    """Asks the arms of experiments."""

    def __init__(self, parts: TrialParts) -> None:
        """Nothing runs yet."""
        self._parts = parts
        self._ids = Ids()
        self._mirrors: set[asyncio.Task[None]] = set()
        self._modes = {Mode.SPLIT: self._split, Mode.SHADOW: self._shadow, Mode.PAIRED: self._paired}

    async def infer(
        self, standing: Standing, request: InferRequest, call: Call, progress: Progress
    ) -> InferResponse:
        """Answer a request to an experiment that has been started.

        Raises:
            ServeError: Why there is no answer.
        """
        experiment = standing.experiment
        given = unit_of(request, call)
        unit = given or self._ids.next()
        arm, why = experiment.winner or 0, Why.SINGLE
        if experiment.state is State.RUNNING:
            assigned = standing.assigner.assign(unit)
            arm, why = assigned.arm, assigned.why
        asked = Asked(experiment=experiment, request=request, call=call, unit=unit, arm=arm, why=why)
        if why is Why.HASH:
            response = await self._modes[experiment.design.mode](self._case(asked), standing, progress)
        else:
            response = await self._outside(asked, progress)
        return response if given else _with(response, {"sticky": False})

    async def close(self) -> None:
        """Give up mirrored calls that still run."""
        for task in self._mirrors:
            task.cancel()
        await asyncio.gather(*self._mirrors, return_exceptions=True)

    def _case(self, asked: Asked) -> Case:
        return Case(
            asked=asked,
            prediction=self._ids.next(),
            unit=self._parts.notes.unit_hash(asked.unit),
            at=self._parts.now(),
        )

    async def _outside(self, asked: Asked, progress: Progress) -> InferResponse:
        """Answer a request that takes no part in the comparison."""
        try:
            response = (await self._serve(asked, progress)).response
        except ServeError as error:
            self._parts.notes.count(asked.experiment, asked.arm, OUTCOMES[error.code], asked.why)
            if asked.why is not Why.OVERRIDE or asked.arm == 0 or not falls_back(error):
                raise
            return await self._fall_back(asked, progress)
        self._parts.notes.count(asked.experiment, asked.arm, OK, asked.why)
        return _named(response, asked)

    async def _split(self, case: Case, _standing: Standing, progress: Progress) -> InferResponse:
        """The unit's arm answers; where it cannot, the control does."""
        try:
            response, heard = await self._timed(case, progress)
        except ServeError as error:
            if case.asked.arm == 0 or not falls_back(error):
                raise
            return await self._fall_back(case.asked, progress)
        return self._with_token(case, response, heard)

    async def _fall_back(self, asked: Asked, progress: Progress) -> InferResponse:
        instead = replace(asked, arm=0, why=Why.FALLBACK)
        return _named((await self._serve(instead, progress)).response, instead)

    async def _shadow(self, case: Case, standing: Standing, progress: Progress) -> InferResponse:
        """The control answers; then the other arms see the images."""
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        try:
            response, heard = await self._timed(case, progress)
        except ServeError as error:
            if is_failure(error, Mode.SHADOW):
                # Else the arms would be spared whatever the control fails on, and look better for it.
                told.set_result(())
                self._start_mirrors(case, self._mirrored(case, standing), told)
            raise
        told.set_result(heard.said)
        self._start_mirrors(case, self._mirrored(case, standing), told)
        return self._with_token(case, response, heard)

    async def _paired(self, case: Case, standing: Standing, progress: Progress) -> InferResponse:
        """The control answers; the other arms see the images at the same time, in random order."""
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        others = self._mirrored(case, standing)
        first = others if standing.assigner.first(case.prediction) != 0 else ()
        try:
            if first:
                self._start_mirrors(case, first, told)
                await asyncio.sleep(0)  # until they are queued
            loop = asyncio.get_running_loop()
            work = loop.create_task(self._timed(case, progress))
            if others and not first:
                loop.call_soon(self._start_mirrors, case, others, told)  # after the control
            response, heard = await work
            told.set_result(heard.said)
        except ServeError as error:
            told.set_result(() if is_failure(error, Mode.PAIRED) else None)
            raise
        finally:
            if not told.done():
                told.set_result(None)
        return self._with_token(case, response, heard)

    async def _timed(self, case: Case, progress: Progress) -> tuple[InferResponse, Heard]:
        """Ask the arm that the unit was given, and take notes of how that went."""
        begun, asked = self._parts.clock(), case.asked
        outcome, failed, why, heard = OK, False, Why.HASH, None
        try:
            answer = await self._serve(asked, progress)
            heard = Heard(answer.prediction, said(answer.prediction, asked.experiment, asked.arm))
            failed = answer.prediction.troubled
        except ServeError as error:
            outcome, failed = OUTCOMES[error.code], is_failure(error, case.experiment.design.mode)
            why = Why.FALLBACK if asked.arm and falls_back(error) else why
            raise
        except asyncio.CancelledError:
            outcome = OUTCOMES[CallerGoneError.code]
            raise
        except BaseException:
            outcome, failed = OUTCOMES[InternalError.code], True
            raise
        finally:
            notes, later = self._parts.notes, asyncio.get_running_loop().call_soon
            taken_s = self._parts.clock() - begun
            # Once the answer is on its way: its caller does not wait for that, too.
            later(notes.count, asked.experiment, asked.arm, outcome, why)
            if heard is not None or failed:
                made = Made(role=Role.SERVED, outcome=outcome, failed=failed, taken_s=taken_s, heard=heard)
                later(notes.call, case, asked.arm, replace(made, trace=asked.call.trace))
        return answer.response, heard

    async def _serve(self, asked: Asked, progress: Progress) -> Answer:
        asked.tell_trace()
        entry = self._entry(asked.experiment.design.arms[asked.arm])
        return await self._parts.inference.answer(entry, asked.request, asked.call, progress, _PROBABILITIES)

    def _entry(self, arm: Arm) -> Entry:
        try:
            return self._parts.repository.find(arm.model, arm.version)
        except NotFoundError as error:
            # The caller named the experiment, which is there; that an arm's model is gone is not its fault.
            raise UnavailableError(error.message, retry_after_s=1.0) from None

    def _mirrored(self, case: Case, standing: Standing) -> Sequence[int]:
        """The arms that are to see the images beside the control."""
        chosen = standing.assigner.mirrored(case.prediction)
        return range(1, len(case.experiment.design.arms)) if chosen else ()

    def _start_mirrors(self, case: Case, arms: Iterable[int], told: asyncio.Future[Told]) -> None:
        """Ask arms for which there is room; the others are counted."""
        experiment, size = case.experiment, size_of(case.asked.request)
        for arm in arms:
            if not self._parts.room.take(experiment.id, arm, size):
                self._parts.notes.drop(experiment, arm, MIRROR)
                continue
            task = asyncio.get_running_loop().create_task(self._mirror(case, arm, told))
            self._mirrors.add(task)
            task.add_done_callback(partial(self._mirror_ended, experiment, arm, size))

    def _mirror_ended(self, experiment: Experiment, arm: int, size: int, task: asyncio.Task[None]) -> None:
        self._mirrors.discard(task)
        self._parts.room.give_back(experiment.id, arm, size)
        bug = None if task.cancelled() else task.exception()
        if bug:
            log.error("mirrored call failed", experiment=experiment.name, exc_info=bug)
        if bug or task.cancelled():
            self._parts.notes.drop(experiment, arm, MIRROR)

    async def _mirror(self, case: Case, arm: int, told: asyncio.Future[Told]) -> None:
        """Ask an arm whose answer nobody gets; nothing that happens here reaches the caller."""
        parts, experiment = self._parts, case.experiment
        begun = parts.clock()
        outcome, failed, heard = OUTCOMES[Code.INTERNAL], True, None  # unless it ends in another way
        trace = begin_trace(case.asked, arm)
        try:
            entry = self._entry(experiment.design.arms[arm])
            deadline = begun + parts.mirror_timeout_s
            prediction = await parts.inference.mirror(entry, case.asked.request, deadline, trace)
            heard = Heard(prediction, said(prediction, experiment, arm))
            outcome, failed = OK, prediction.troubled
        except ServeError as error:
            outcome, failed = OUTCOMES[error.code], is_failure(error, experiment.design.mode)
        except asyncio.CancelledError:
            outcome, failed = OUTCOMES[Code.CALLER_GONE], False
            raise
        finally:
            end_trace(trace, outcome, failed=failed)
        taken_s = parts.clock() - begun
        control = await told
        if control is None:  # nobody was answered, and it is nobody's failure
            return
        parts.notes.count(experiment, arm, outcome, Why.HASH)
        if heard is not None or failed:
            made = Made(role=Role.MIRROR, outcome=outcome, failed=failed, taken_s=taken_s, heard=heard)
            parts.notes.call(case, arm, replace(made, trace=trace), control)
        elif outcome in _SHED:
            parts.notes.drop(experiment, arm, MIRROR)

    def _with_token(self, case: Case, response: InferResponse, heard: Heard) -> InferResponse:
        token = self._parts.notes.token(case, case.asked.arm, heard)
        return _named(response, case.asked, {"feedback_token": token})


# Ends of a mirrored call that say nothing of its arm: it stood behind all others.
_SHED = frozenset(OUTCOMES[code] for code in (Code.OVERLOADED, Code.DEADLINE))


def check_callable(experiment: Experiment, version: str = "") -> None:
    """See that an experiment can be called, and that no version of it is asked for.

    Raises:
        NotFoundError: It has not been started; or a version is named.
    """
    if experiment.state is State.DRAFT:
        raise NotFoundError(f"experiment {experiment.name!r} has not been started")
    if version:
        raise NotFoundError(f"experiment {experiment.name!r} has no versions to choose, got {version!r}")


def _named(
    response: InferResponse, asked: Asked, more: Mapping[str, Parameter] = MappingProxyType({})
) -> InferResponse:
    """The response with who answered and why, and `more`."""
    experiment = asked.experiment
    named: dict[str, Parameter] = {
        "experiment": experiment.name,
        "arm": experiment.design.arms[asked.arm].name,
        "assignment": asked.why.value,
        "experiment_version": experiment.number,
        **more,
    }
    return _with(response, named)


def _with(response: InferResponse, more: Mapping[str, Parameter]) -> InferResponse:
    return replace(response, parameters={**response.parameters, **more})
