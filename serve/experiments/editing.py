"""How experiments change: always the newest version, by whoever is first, and told to the audit.

Whatever changes one reads the ledger before; who was slower than another gateway begins anew. What comes of
it is known here at once and everywhere after the next poll, and holds from its `effective_at` on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from serve.audit import Act
from serve.core import edits, lifecycle
from serve.core.call import Call
from serve.core.designs import design_of
from serve.core.errors import ChangedError, ConflictError, NotFoundError, ServeError
from serve.core.experiment import LIVE, Alias, Experiment, State
from serve.experiments.aliases import TRIES, Aliases, Pointing
from serve.experiments.checks import Checks
from serve.experiments.desk_parts import DeskParts

Change = Callable[[Experiment], Experiment]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRequest:
    """What an act is given.

    Attributes:
        reason: Kept with the version.
        ramp: With "ramp": enrolled share of the slots, in 1/10 000.
        arm: With "promote": the arm that wins; of two arms the second, where it is left out.
        if_match: The version that the caller has seen; None: whatever the newest one is.
    """

    reason: str
    ramp: int | None = None
    arm: str | None = None
    if_match: int | None = None


class Editing:
    """Makes versions of experiments and moves their aliases along."""

    def __init__(self, parts: DeskParts) -> None:
        """Change nothing yet."""
        self._parts = parts
        self._aliases = Aliases(parts.ledger, parts.threads, parts.plans, parts.repository)
        self._checks = Checks(parts.repository, parts.plans, self._aliases)

    async def create(self, document: Mapping[str, Any], reason: str, call: Call) -> Experiment:
        """Make a draft; the same design once more gives the experiment that is there.

        Raises:
            InvalidRequestError: The design breaks a rule, or needs models that are not known.
            ConflictError: Its name or its part of the layer is taken.
            UnavailableError: The ledger does not answer, or a model was never ready.
        """
        with self._taking_down("create_experiment", str(document.get("name", "")), reason, call):
            draft = edits.create(design_of(document), self._stamp("create", call.principal, reason))
            await self._parts.plans.read()
            known = await self._same(draft)
            if known:
                return known
            self._checks.name(draft.name)
            self._checks.fits(draft)
            written = await self._parts.threads.run(self._parts.ledger.versions.add, draft)
            self._parts.plans.apply(written)
            return written

    async def patch(
        self, name: str, changes: Mapping[str, Any], reason: str, if_match: int | None, call: Call
    ) -> Experiment:
        """Change what is named in a design, and nothing else.

        Raises:
            InvalidRequestError: What comes of it breaks a rule.
            ConflictError: It would spoil what was measured, or another experiment is in its way.
            ChangedError: It is not the version that the caller has seen.
            NotFoundError: There is no such experiment.
            UnavailableError: The ledger does not answer.
        """

        def change(newest: Experiment) -> Experiment:
            changed = edits.patched(newest, changes, self._stamp("patch", call.principal, reason))
            if changed is not newest and newest.state is State.DRAFT:
                self._checks.fits(changed)
            if changed.design.alias != newest.design.alias and newest.state in LIVE:
                self._aliases.check_start(changed.design)
            return changed

        with self._taking_down("patch_experiment", name, reason, call):
            before, after = await self.change(name, change, if_match)
            if before.design.alias != after.design.alias:
                await self._aliases.give_up(after, before.design.alias)
            return after

    async def act(self, name: str, act: str, request: ActRequest, call: Call) -> Experiment:
        """Start, ramp, pause, resume, promote, roll back or stop; what is so already stays as it is.

        Raises:
            InvalidRequestError: There is no such act, or it lacks something; or as `create`.
            ConflictError: It is not allowed in this state, or something is in the way of a start.
            ChangedError: It is not the version that the caller has seen.
            NotFoundError: There is no such experiment.
            UnavailableError: The ledger does not answer, or a model was never ready.
        """

        def change(newest: Experiment) -> Experiment:
            starts = act == lifecycle.Act.START and newest.state is State.DRAFT
            labels_of = self._checks.labels_of(newest.design) if starts else None
            wanted = edits.Wanted(ramp=request.ramp, arm=request.arm, labels_of=labels_of)
            moved = edits.moved(newest, act, self._stamp(act, call.principal, request.reason), wanted)
            if starts:
                self._checks.fits(moved)
                self._aliases.check_start(moved.design)
            return moved

        with self._taking_down(f"{act}_experiment", name, request.reason, call):
            _, after = await self.change(name, change, request.if_match)
            return after

    async def end(self, name: str, act: str, author: str, request: ActRequest) -> Experiment | None:
        """Promote or roll back a live experiment, by the gateway itself.

        Returns:
            The new version; None where somebody has ended it before.

        Raises:
            ServeError: As `act`.
        """

        def change(newest: Experiment) -> Experiment:
            if newest.state not in LIVE:
                return newest
            wanted = edits.Wanted(arm=request.arm)
            return edits.moved(newest, act, self._stamp(act, author, request.reason), wanted)

        before, after = await self.change(name, change)
        if after is before:
            return None
        done = Act(name=f"{act}_experiment", target=name, principal=author, reason=request.reason)
        self._parts.audit.record(done)
        return after

    async def change(
        self, name: str, change: Change, if_match: int | None = None
    ) -> tuple[Experiment, Experiment]:
        """Append what `change` makes of the newest version; it gives that one back to change nothing.

        Returns:
            The version before, and the newest one now.

        Raises:
            ServeError: As `patch`, or what `change` raises.
        """
        for _ in range(TRIES):
            await self._parts.plans.read()
            newest = self._parts.plans.newest(name)
            if newest is None:
                raise NotFoundError(f"experiment {name!r} is not found")
            changed = _wanted(newest, change, if_match)
            if changed is not newest:
                try:
                    changed = await self._parts.threads.run(self._parts.ledger.versions.append, changed)
                except ConflictError:
                    continue  # another gateway was first
                self._parts.plans.apply(changed)
            await self._aliases.settle(changed)
            return newest, changed
        raise ChangedError(f"experiment {name!r} is being changed by others, try again")

    async def settle(self, experiment: Experiment) -> None:
        """Point an experiment's alias to where it belongs, if whoever was to do so has died before.

        Raises:
            ServeError: The ledger does not answer, or others change the alias all the time.
        """
        await self._aliases.settle(experiment)

    async def put_alias(self, name: str, target: str, reason: str, if_match: int | None, call: Call) -> Alias:
        """Make an alias, or point it to a model, to "model:version", or to a live experiment.

        Raises:
            InvalidRequestError: The name or the target will not do.
            ConflictError: It belongs to a live experiment, or the target is not live.
            ChangedError: It is not the version that the caller has seen.
            UnavailableError: The ledger does not answer.
        """
        stamp = self._stamp("put_alias", call.principal, reason)
        pointing = Pointing(
            target=target, author=stamp.author, reason=reason, effective_at=stamp.effective_at
        )
        with self._taking_down("put_alias", name, reason, call):
            return await self._aliases.put(name, pointing, if_match)

    async def _same(self, draft: Experiment) -> Experiment | None:
        """The newest version of an experiment that was made with that very design."""
        newest = self._parts.plans.newest(draft.name)
        if newest is None or newest.design == draft.design:
            return newest
        history = await self._parts.threads.run(self._parts.ledger.versions.history, draft.name)
        return newest if history[0].design == draft.design else None

    def _stamp(self, act: str, author: str, reason: str) -> edits.Stamp:
        now = self._parts.clock()
        return edits.Stamp(
            author=author,
            reason=reason,
            created_at=now,
            effective_at=lifecycle.effective_at(act, now, self._parts.poll_interval_s),
        )

    def _taking_down(self, act: str, target: str, reason: str, call: Call) -> AbstractContextManager[None]:
        done = Act(name=act, target=target, principal=call.principal, protocol=call.protocol, reason=reason)
        return self._parts.audit.recording(done)


def _wanted(newest: Experiment, change: Change, if_match: int | None) -> Experiment:
    """What a change makes of the newest version; what is so already may be asked for of any version."""
    if if_match in (None, newest.number):
        return change(newest)
    with suppress(ServeError):
        if change(newest) is newest:
            return newest
    raise ChangedError(f"experiment {newest.name!r} is at version {newest.number}, not at {if_match}")
