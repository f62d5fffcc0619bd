"""The contract's rules pass a small fleet that obeys them, and find each thing that is spoilt in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.checking import contract, contract_images
from deploy.checking.by_reference import SECRETS
from deploy.checking.kustomize import Build, Manifest, Target
from deploy.checking.objects import selects
from deploy.checking.paths import DEPLOY

HERE = Path(__file__).parent
SMALL_FLEET: list[Manifest] = list(
    yaml.safe_load_all((HERE / "small_fleet.yaml").read_text(encoding="utf-8"))
)

GATEWAY = "Deployment/gateway spec.template.spec"
WORKER = "Deployment/worker-se spec.template.spec"
SCALED_OBJECT: Manifest = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "worker-se"},
    "spec": {
        "scaleTargetRef": {"name": "worker-se"},
        "minReplicaCount": 1,
        "maxReplicaCount": 4,
        "fallback": {"failureThreshold": 3, "replicas": 2},
        "triggers": [{"type": "prometheus", "metadata": {"ignoreNullValues": "false"}}],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A thing that is spoilt.

    Attributes:
        case: What it is, in words.
        change: Object and path -> its new value, None to remove it.
        says: Every sentence that this must bring about.
    """

    case: str
    change: Mapping[str, Any]
    says: Sequence[str]


CASES = [Case(**case) for case in yaml.safe_load_all((HERE / "spoilt.yaml").read_text(encoding="utf-8"))]


def spoil(changes: Mapping[str, Any]) -> list[Manifest]:
    """The small fleet with some values changed, removed or added."""
    fleet = {
        f"{manifest['kind']}/{manifest['metadata']['name']}": deepcopy(manifest) for manifest in SMALL_FLEET
    }
    for place, value in changes.items():
        what, _, path = place.partition(" ")
        if path:
            put(fleet[what], path, value)
        elif value is None:
            del fleet[what]
        else:
            fleet[what] = value
    return list(fleet.values())


def put(manifest: Manifest, path: str, value: object) -> None:
    """Set or remove what stands at a path; a file's name, which has a dot, is the last part whole."""
    file = path.removeprefix("data.")
    keys = path.split(".") if file == path else ["data", file]
    place: Any = manifest
    for key in keys[:-1]:
        place = place[int(key)] if isinstance(place, list) else place[key]
    last: Any = int(keys[-1]) if isinstance(place, list) else keys[-1]
    if value is None:
        del place[last]
    else:
        place[last] = value


def sentences(manifests: list[Manifest]) -> list[str]:
    """What all rules find, those for releases included."""
    return [
        sentence
        for rules in contract.RULES.values()
        for find in (*rules.always, *rules.released)
        for sentence in find(manifests)
    ]


def test_a_fleet_that_obeys_passes() -> None:
    """The small fleet that the next tests spoil breaks no rule itself."""
    assert sentences(SMALL_FLEET) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case)
def test_what_is_wrong_is_said(case: Case) -> None:
    """Each thing that is spoilt brings about these sentences, which say what to do, and no other."""
    assert sorted(sentences(spoil(case.change))) == sorted(case.says)


def test_every_rule_has_found_something() -> None:
    """No rule is in the table that no case above has set off."""
    spoilt = [spoil(case.change) for case in CASES]
    for rules in contract.RULES.values():
        for find in (*rules.always, *rules.released):
            assert any(list(find(manifests)) for manifests in spoilt), find.__name__


def test_what_keda_alone_scales_is_right() -> None:
    """A ScaledObject with a floor, a fallback and no silent zero may take the HPA's place."""
    assert (
        sentences(spoil({"HorizontalPodAutoscaler/worker-se": None, "ScaledObject/worker-se": SCALED_OBJECT}))
        == []
    )


def test_an_image_volume_needs_no_init_container() -> None:
    """What an image volume holds is not to be seen in the manifests; its image's digest is."""
    volumes = [
        {"name": "config", "configMap": {"name": "worker-config"}},
        {"name": "models", "image": {"reference": "attnserve-models:0.1.0"}},
    ]
    manifests = spoil({f"{WORKER}.initContainers": None, f"{WORKER}.volumes": volumes})
    assert sentences(manifests) == [
        (
            "Deployment/worker-se, volume models: image attnserve-models:0.1.0 has no digest: give one under "
            "`images` in the overlay's kustomization.yaml; deploy/pin.py writes it there"
        )
    ]


def test_a_placeholder_is_a_note() -> None:
    """A digest of zeros is no failure, but it is said that nobody can pull that image."""
    manifests = spoil({f"{GATEWAY}.containers.0.image": f"example/gateway@{contract_images.PLACEHOLDER}"})
    build = Build(
        target=Target(name="overlay production", folder=DEPLOY / "overlays" / "staging"), manifests=manifests
    )
    outcome = contract.check(contract.RULES["images"], [build])
    assert outcome.problems == []
    assert outcome.notes == [
        "example/gateway: its digest is a placeholder; deploy/pin.py writes the real one (overlay production)"
    ]


def test_what_several_builds_have_in_common_is_said_once() -> None:
    """A sentence is printed once, with how many builds it is about."""
    manifests = spoil({"PodDisruptionBudget/worker-se": None})
    builds = [
        Build(target=Target(name=name, folder=DEPLOY / "overlays" / "dev-cpu"), manifests=manifests)
        for name in ("one", "two", "three")
    ]
    (problem,) = contract.check(contract.RULES["leaving"], builds).problems
    assert problem.endswith(
        "has no PodDisruptionBudget: add one that selects its pods (one and 2 other builds)"
    )


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("overlays/dev-cpu", 0),
        ("overlays/staging", 1),
        ("scenarios/compare-se-eca", 0),  # over dev-cpu
        ("scenarios/loadtest", 1),  # over staging
    ],
)
def test_tags_are_for_development(folder: str, says: int) -> None:
    """What is built on an overlay for development may name its images by tag; all else may not."""
    manifests = spoil({f"{GATEWAY}.containers.0.image": "attnserve-gateway:0.1.0"})
    build = Build(target=Target(name=folder, folder=DEPLOY / folder), manifests=manifests)
    problems = contract.check(contract.RULES["images"], [build]).problems
    assert sum("has no digest" in problem for problem in problems) == len(problems) == says


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "tier", "operator": "In", "values": ["front", "back"]}, True),
        ({"key": "tier", "operator": "NotIn", "values": ["front"]}, False),
        ({"key": "tier", "operator": "Exists"}, True),
        ({"key": "tier", "operator": "DoesNotExist"}, False),
        ({"key": "zone", "operator": "DoesNotExist"}, True),
    ],
)
def test_selectors_with_expressions(expression: dict[str, Any], *, matches: bool) -> None:
    """The operators of matchExpressions are read as Kubernetes' API reference says."""
    assert selects({"matchExpressions": [expression]}, {"tier": "front"}) is matches


def test_readers_are_told_of_every_secret() -> None:
    """deploy/README.md names each Secret that whoever runs the cluster has to make."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert [name for name in SECRETS if name not in text] == []
