"""Aliases: put by people, and moved along with the experiments that own one.

An experiment whose design names an alias has it while it is live; afterwards the alias points to the winner,
or back to the control. Whoever notices first that it does not, moves it: the gateway on which the act was
asked for, or any steward if that one has died in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from serve.core.errors import ChangedError, ConflictError, InvalidRequestError, NotFoundError
from serve.core.experiment import ENDED, LIVE, Alias, Arm, Design, Experiment, State
from serve.core.messages import MODEL_NAME
from serve.core.neighbours import check_alias_name
from serve.experiments.plans import Plans
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger
from serve.repository import Repository

# Of writing where another gateway was first.
TRIES = 5
_NAME = re.compile(MODEL_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """Where an alias is to point: by whose will, why, and from when (Unix time)."""

    target: str
    author: str
    reason: str
    effective_at: float


class Aliases:
    """Puts aliases, and refuses what would be ambiguous or take an experiment's traffic away."""

    def __init__(self, ledger: Ledger, threads: LedgerThreads, plans: Plans, repository: Repository) -> None:
        """Change nothing yet."""
        self._ledger = ledger
        self._threads = threads
        self._plans = plans
        self._repository = repository

    async def put(self, name: str, pointing: Pointing, if_match: int | None) -> Alias:
        """Make an alias or point it elsewhere; one that points there already stays as it is.

        Raises:
            InvalidRequestError: The name is none, or the target is not known.
            ConflictError: The name means something else, a live experiment has it, or the target is not live.
            ChangedError: It is not the version that the caller has seen.
            UnavailableError: The ledger does not answer.
        """
        for _ in range(TRIES):
            await self._plans.read()
            newest = self._plans.newest_alias(name)
            if newest and newest.target == pointing.target:
                return newest
            number = newest.number if newest else 0
            if if_match not in (None, number):
                raise ChangedError(f"alias {name!r} is at version {number}, not at {if_match}")
            self.check_name(name)
            self._check_free(name)
            self._check_target(pointing.target)
            try:
                return await self._write(name, number + 1, pointing)
            except ConflictError:
                continue  # another gateway was first
        raise ChangedError(f"alias {name!r} is being changed by others, try again")

    def check_name(self, name: str) -> None:
        """See that a name may be an alias's.

        Raises:
            InvalidRequestError: It is none.
            ConflictError: It is a model's or an experiment's.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(f"alias: is {name[:80]!r}, must match {_NAME.pattern}")
        experiments = {experiment.name for experiment in self._plans.experiments()}
        check_alias_name(name, models=model_names(self._repository), experiments=experiments)

    def check_start(self, design: Design) -> None:
        """See that an experiment may take the alias that its design names.

        Raises:
            InvalidRequestError: The name is none.
            ConflictError: It means something else, or the alias points elsewhere than at the control.
        """
        if not design.alias:
            return
        self.check_name(design.alias)
        alias = self._plans.newest_alias(design.alias)
        if alias and alias.target not in _sources(design):
            control = f"{design.control.model}:{design.control.version}"
            raise ConflictError(
                f"alias: {alias.name!r} points to {alias.target!r}; it must point to the control {control!r}"
                " or be new, so that its callers keep what they have"
            )

    async def settle(self, experiment: Experiment) -> Alias | None:
        """Point an experiment's alias to where it belongs now.

        Args:
            experiment: The newest version.

        Returns:
            What was written; None where nothing had to be.

        Raises:
            UnavailableError: The ledger does not answer.
        """
        for _ in range(TRIES):
            target = self._belongs(experiment)
            if target is None:
                return None
            alias = self._plans.newest_alias(experiment.design.alias)
            number = alias.number + 1 if alias else 1
            try:
                return await self._write(experiment.design.alias, number, _along(experiment, target))
            except ConflictError:
                await self._plans.read()
        raise ChangedError(f"alias {experiment.design.alias!r} is being changed by others, try again")

    async def give_up(self, experiment: Experiment, name: str) -> None:
        """Point an alias that a live experiment no longer names back to its control.

        Raises:
            UnavailableError: The ledger does not answer.
            ConflictError: Somebody else has just put it.
        """
        alias = self._plans.newest_alias(name)
        if alias and alias.target == experiment.name:
            pointing = _along(experiment, _address(experiment.design.control))
            await self._write(name, alias.number + 1, pointing)

    def _belongs(self, experiment: Experiment) -> str | None:
        """Where the alias should point and does not; None where it is right, or not this experiment's."""
        design = experiment.design
        alias = self._plans.newest_alias(design.alias)
        if not design.alias or (alias and alias.seq > experiment.seq):
            return None  # it has none, or somebody has put it since
        now = alias.target if alias else ""
        if experiment.state in LIVE:
            free = not now or now in _sources(design)
            return design.name if free and now != design.name else None
        if experiment.state in ENDED and now in _given(experiment):
            target = _address(experiment.standing)
            return target if now != target else None
        return None

    async def _write(self, name: str, number: int, pointing: Pointing) -> Alias:
        alias = Alias(
            name=name,
            number=number,
            target=pointing.target,
            effective_at=pointing.effective_at,
            author=pointing.author,
            reason=pointing.reason,
        )
        written = await self._threads.run(self._ledger.versions.put_alias, alias)
        self._plans.apply(written)
        return written

    def _check_free(self, name: str) -> None:
        for experiment in self._plans.experiments():
            if experiment.state in LIVE and experiment.design.alias == name:
                raise ConflictError(
                    f"alias: {name!r} belongs to the experiment {experiment.name!r}, which is"
                    f" {experiment.state.value}: end that, or change its alias"
                )

    def _check_target(self, target: str) -> None:
        experiment = self._plans.newest(target)
        if experiment is None:
            self._check_model(target)
        elif experiment.state is State.DRAFT:
            raise ConflictError(f"target: the experiment {target!r} has not been started")
        elif experiment.state in ENDED:
            arm = _address(experiment.standing)
            raise ConflictError(f"target: the experiment {target!r} has ended; its callers get {arm!r}")

    def _check_model(self, target: str) -> None:
        model, _, version = target.partition(":")
        try:
            self._repository.find(model, version)
        except NotFoundError as error:
            raise InvalidRequestError(f"target: no experiment, and {error.message}") from None


def model_names(repository: Repository) -> frozenset[str]:
    """Models that are known, or should be."""
    return frozenset(entry.name for entry in repository.index())


def _along(experiment: Experiment, target: str) -> Pointing:
    """A pointing that comes with a version of an experiment."""
    return Pointing(
        target=target,
        author=experiment.author,
        reason=f"{experiment.act} of experiment {experiment.name}: {experiment.reason}",
        effective_at=experiment.effective_at,
    )


def _address(arm: Arm) -> str:
    return f"{arm.model}:{arm.version}"


def _sources(design: Design) -> frozenset[str]:
    """Where an alias may point when an experiment takes it: its callers get the control before and after."""
    return frozenset({design.control.model, _address(design.control), design.name})


def _given(experiment: Experiment) -> frozenset[str]:
    """Where an alias may point because of the experiment; a promotion that is rolled back gave an arm."""
    if not experiment.labels:  # it was never started
        return frozenset()
    return frozenset({experiment.name, *map(_address, experiment.design.arms)})
