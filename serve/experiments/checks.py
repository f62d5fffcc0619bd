"""What a design breaks together with others: models that are not there, labels, names, layers, aliases."""

from __future__ import annotations

from collections.abc import Mapping

from serve.core.card import ModelCard
from serve.core.errors import ConflictError, InvalidRequestError, NotFoundError
from serve.core.experiment import Arm, Design, Experiment
from serve.core.neighbours import check_labels, check_layer
from serve.experiments.aliases import Aliases, model_names
from serve.experiments.plans import Plans
from serve.repository import Repository

# Of models, in a message.
MOST_NAMED = 20


class Checks:
    """Compares designs with the models and the other experiments of this moment."""

    def __init__(self, repository: Repository, plans: Plans, aliases: Aliases) -> None:
        """Check nothing yet."""
        self._repository = repository
        self._plans = plans
        self._aliases = aliases

    def name(self, name: str) -> None:
        """See that a new experiment's name means nothing else.

        Raises:
            ConflictError: It is, or was, an experiment's; or it is an alias's or a model's.
        """
        for what, taken in (
            ("an experiment", self._plans.newest(name)),
            ("an alias", self._plans.newest_alias(name)),
            ("a model", name in model_names(self._repository)),
        ):
            if taken:
                raise ConflictError(f"name: {name!r} is {what}'s name already; a name means one thing")

    def fits(self, experiment: Experiment) -> None:
        """See that an experiment could run beside the others.

        Raises:
            InvalidRequestError: A model or version is not known, labels differ, or the alias will not do.
            ConflictError: Another experiment holds its part of the layer.
            UnavailableError: A version was never ready, so that its labels are not known.
        """
        check_labels(experiment.design, self.labels_of(experiment.design))
        check_layer(experiment.design, self._plans.experiments())
        if experiment.design.alias:
            self._aliases.check_name(experiment.design.alias)

    def labels_of(self, design: Design) -> Mapping[str, tuple[str, ...]]:
        """The labels of every arm's model, by the arm's name.

        Raises:
            InvalidRequestError: A model or version is not known.
            UnavailableError: A version was never ready.
        """
        return {arm.name: self._card(arm).labels for arm in design.arms}

    def _card(self, arm: Arm) -> ModelCard:
        try:
            return self._repository.find(arm.model, arm.version).known_card()
        except NotFoundError as error:
            names = sorted(model_names(self._repository))
            known = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
            raise InvalidRequestError(f"arms: {arm.name!r}: {error.message}; known models: {known}") from None
