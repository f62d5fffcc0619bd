"""What a design must agree with beside itself: its layer, its arms' models, and the names in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import LIVE, WHOLE, Arm, Design, Experiment, State

_SHOWN = 3  # labels that a message lists


def check_layer(design: Design, others: Iterable[Experiment]) -> None:
    """See that no other experiment of the layer holds any of the design's slots.

    Args:
        design: What is to be made, changed or started.
        others: The newest versions of all experiments; the design's own may be among them, and so may ended
            ones, which hold nothing.

    Raises:
        ConflictError: One does; the message says which, and what is free.
    """
    holders = [
        other
        for other in others
        if other.state in LIVE | {State.DRAFT}
        and other.design.layer_name == design.layer_name
        and other.name != design.name
    ]
    start, stop = design.slots
    for other in holders:
        theirs = other.design.slots
        if start < theirs[1] and theirs[0] < stop:
            free = _free([holder.design.slots for holder in holders])
            raise ConflictError(
                f"slots: {[start, stop]} of layer {design.layer_name!r} overlap {list(theirs)} of the"
                f" experiment {other.name!r}, which is {other.state.value}; free: {free or 'none'}"
            )


def check_labels(design: Design, labels_of: Mapping[str, tuple[str, ...]]) -> tuple[tuple[int, ...], ...]:
    """Translate every arm's labels to the control's.

    Args:
        design: Its arms may name what their labels are called by the control.
        labels_of: Each arm's labels, by the arm's name.

    Returns:
        For each arm, index of its label -> index of the control's.

    Raises:
        InvalidRequestError: Some arm's labels are not the control's, one to one, even after its `labels`
            have been applied; the message lists the first that differ.
    """
    if design.control.labels:
        raise InvalidRequestError(
            f"arms.{design.control.name}.labels: the control's labels are what the others are translated to;"
            " leave it out there"
        )
    control = labels_of[design.control.name]
    return tuple(_translation(arm, labels_of[arm.name], control) for arm in design.arms)


def check_alias_name(name: str, *, models: Collection[str], experiments: Collection[str]) -> None:
    """See that an alias's name means nothing else.

    Raises:
        ConflictError: It is a model's or an experiment's, also an ended one's.
    """
    for what, names in (("a model", models), ("an experiment", experiments)):
        if name in names:
            raise ConflictError(f"alias: {name!r} is {what}'s name already; a name means one thing")


def _free(taken: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What lies between the taken ranges, as [first, one after the last]."""
    free, start = [], 0
    for begin, end in [*sorted(taken), (WHOLE, WHOLE)]:
        if start < begin:
            free.append([start, begin])
        start = max(start, end)
    return free


def _translation(arm: Arm, own: tuple[str, ...], control: tuple[str, ...]) -> tuple[int, ...]:
    where = f"arms.{arm.name}.labels"
    _check_mapping(where, arm.labels, own, control)
    called = tuple(arm.labels.get(label, label) for label in own)
    if called == control:
        # Two classes of one name (ImageNet has such) are one: a label that is told cannot tell them apart.
        return tuple(control.index(label) for label in control)
    foreign, missing = _without(called, control), _without(control, called)
    if foreign or missing:
        raise InvalidRequestError(
            f"{where}: {arm.model}:{arm.version} and the control have different labels:"
            f" {_listed(foreign)} only here, {_listed(missing)} only there; give a mapping, one to one"
        )
    doubled = [label for label, count in (Counter(called) | Counter(control)).items() if count > 1]
    if doubled:
        raise InvalidRequestError(
            f"{where}: {_listed(doubled)} would each mean more than one class; labels must agree one to one"
        )
    places = {label: index for index, label in enumerate(control)}
    return tuple(places[label] for label in called)


def _check_mapping(
    where: str, mapping: Mapping[str, str], own: tuple[str, ...], control: tuple[str, ...]
) -> None:
    for what, named, known in (("this arm", mapping, own), ("the control", mapping.values(), control)):
        strangers = _without(named, known)
        if strangers:
            raise InvalidRequestError(f"{where}: {_listed(strangers)}: no label of {what}'s model")


def _without(labels: Iterable[str], known: Iterable[str]) -> list[str]:
    held = frozenset(known)
    return [label for label in labels if label not in held]


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(map(repr, labels[:_SHOWN])) or "none"
    return f"{shown} and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else shown
