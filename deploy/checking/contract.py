"""The contract between the objects, which no schema knows: every rule, and what it is called in the table.

A rule is a pure function of the built objects; each thing that it finds is one sentence, which names the
object and says what to do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.checking import (
    contract_edges,
    contract_engines,
    contract_images,
    contract_leaving,
    contract_models,
    contract_ports,
    contract_references,
    contract_scaling,
    gateway,
)
from deploy.checking.kustomize import Build, Manifest
from deploy.checking.outcome import Outcome, counted

Find = Callable[[Sequence[Manifest]], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules that are one line of the table.

    Attributes:
        always: Hold of every overlay and scenario, with each component that suits.
        released: Hold of overlays and scenarios that are not for development.
        notes: Find what a reader should know, but need not mend, in overlays and scenarios.
    """

    always: Sequence[Find] = ()
    released: Sequence[Find] = ()
    notes: Sequence[Find] = ()


RULES: Mapping[str, Rules] = {
    "images": Rules(
        always=(contract_images.moving_tags,),
        released=(contract_images.without_digest,),
        notes=(contract_images.placeholders,),
    ),
    "configuration": Rules(always=(gateway.refusals,)),
    "engines": Rules(always=(contract_engines.engines_without_workers,)),
    "models": Rules(always=(contract_models.archives_without_sum, contract_models.signals_of_others)),
    "experiments": Rules(always=(contract_engines.experiments_without_workers,)),
    "ports and probes": Rules(
        always=(
            contract_ports.gateway_ports,
            contract_ports.gateway_probes,
            contract_ports.worker_ports,
            contract_ports.worker_probes,
            contract_ports.probes,
            contract_ports.services,
        )
    ),
    "edges": Rules(
        always=(
            contract_edges.pods_without_policy,
            contract_edges.policies_without_pods,
            contract_edges.policies_without_ports,
            contract_edges.routes,
            contract_edges.monitors,
        )
    ),
    "autoscaling": Rules(
        always=(
            contract_scaling.several_scalers,
            contract_scaling.scalers_without_target,
            contract_scaling.bounds,
            contract_scaling.fixed_replicas,
            contract_scaling.absent_series,
        )
    ),
    "leaving": Rules(
        always=(
            contract_leaving.graces,
            contract_leaving.connections,
            contract_leaving.without_budget,
            contract_leaving.budgets_without_pods,
        )
    ),
    "references": Rules(
        always=(
            contract_references.dangling,
            contract_references.mounts_without_volume,
            contract_references.missing_keys,
            contract_references.unknown_secrets,
            contract_references.secrets_by_value,
        )
    ),
}


def check(rules: Rules, builds: Sequence[Build]) -> Outcome:
    """Hold builds against rules; what is found in several builds is said once."""
    whole = [build for build in builds if build.target.whole and build.manifests]
    applied = [build for build in whole if build.target.applied]
    released = [build for build in whole if build.target.released]
    number = sum(len(finds) for finds in (rules.always, rules.released))
    return Outcome(
        looked_at=f"{counted(number, 'rule')}, {counted(len(whole), 'build')}",
        problems=[*_found(rules.always, whole), *_found(rules.released, released)],
        notes=_found(rules.notes, applied),
    )


def _found(finds: Sequence[Find], builds: Sequence[Build]) -> list[str]:
    places: dict[str, list[str]] = {}
    for build in builds:
        for sentence in dict.fromkeys(sentence for find in finds for sentence in find(build.manifests)):
            places.setdefault(sentence, []).append(build.target.name)
    return [f"{sentence} ({_shortened(names)})" for sentence, names in places.items()]


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f"{names[0]} and {counted(more, 'other build')}" if more else names[0]
