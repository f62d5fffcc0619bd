"""What a called name means: an alias, an experiment or a model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from serve.core.catalog import IndexEntry, ModelState
from serve.core.errors import ConflictError, NotFoundError, UnavailableError
from serve.core.experiment import Experiment, State
from serve.core.messages import ModelRef
from serve.experiments.plans import Plans, Standing
from serve.experiments.trials import check_callable
from serve.repository import Entry, Repository


@dataclass(frozen=True, slots=True)
class Directory:
    """Looks names up; without plans there are only models.

    Attributes:
        plans: Experiments and aliases in force; None where experiments are disabled.
    """

    repository: Repository
    plans: Plans | None = None

    def find(self, name: str, version: str = "") -> Entry | Standing:
        """What is called by that name.

        Raises:
            NotFoundError: Nothing is, or nothing of that version.
            UnavailableError: No model is, and whether anything else is cannot be known yet.
        """
        name, version = self._aimed(name, version)
        standing = self.plans.find(name) if self.plans else None
        if standing is None:
            return self._model(name, version)
        check_callable(standing.experiment, version)
        return standing

    def model(self, name: str, version: str = "") -> Entry:
        """The version that stands for that name where one is asked about, not called.

        Raises:
            NotFoundError: As `find`.
        """
        found = self.find(name, version)
        if isinstance(found, Entry):
            return found
        arm = found.experiment.standing
        return self.repository.find(arm.model, arm.version)

    def check_model_name(self, name: str) -> None:
        """See that a model that is to be loaded could be called by its name.

        Raises:
            ConflictError: It is an experiment's or an alias's, whose callers would never get the model.
        """
        for what, taken in (
            ("an experiment", self.plans and self.plans.newest(name)),
            ("an alias", self.plans and self.plans.newest_alias(name)),
        ):
            if taken:
                raise ConflictError(f"model {name!r}: is {what}'s name already; a name means one thing")

    def names(self) -> tuple[str, ...]:
        """Aliases and experiments that can be called, by name."""
        if self.plans is None:
            return ()
        plan = self.plans.current
        started = (name for name, one in plan.experiments.items() if _started(one))
        return tuple(sorted({*plan.aliases, *started}))

    def line(self, name: str) -> IndexEntry:
        """The index's line for an alias or an experiment: whether the model that answers is ready."""
        try:
            ready = self.model(name).ready
            reason = "" if ready else "the model that answers is not ready"
        except NotFoundError as error:
            ready, reason = False, error.message
        state = ModelState.READY if ready else ModelState.UNAVAILABLE
        return IndexEntry(name=name, version="", state=state, reason=reason)

    def aliases(self) -> dict[ModelRef, tuple[str, ...]]:
        """The aliases whose callers get a version, by that version; those of experiments are left out."""
        found: dict[ModelRef, tuple[str, ...]] = {}
        for name in sorted(self.plans.current.aliases) if self.plans else ():
            with suppress(NotFoundError):  # what it points to has gone
                aimed = self.find(name)
                if isinstance(aimed, Entry):
                    found[aimed.ref] = (*found.get(aimed.ref, ()), name)
        return found

    def _model(self, name: str, version: str) -> Entry:
        try:
            return self.repository.find(name, version)
        except NotFoundError as error:
            if self.plans is None or self.plans.known:
                raise
            # A gateway that starts while the store is down must not tell the callers of an alias to go away.
            message = f"{error.message}; experiments and aliases could not be read yet"
            raise UnavailableError(message, retry_after_s=1.0) from None

    def _aimed(self, name: str, version: str) -> tuple[str, str]:
        """What an alias points to; where the caller names a version, that counts."""
        target = self.plans.current.aliases.get(name) if self.plans else None
        if target is None:
            return name, version
        model, _, pinned = target.partition(":")
        return model, version or pinned


def _started(experiment: Experiment) -> bool:
    return experiment.state is not State.DRAFT
