"""The objects of every overlay and scenario, alone and with each component, built once for all tests."""

import functools

import pytest

from deploy.checking import kustomize
from deploy.checking.kustomize import Manifest, Target
from deploy.checking.paths import DEPLOY

TARGETS = {target.name: target for target in kustomize.targets() if target.whole}


@functools.cache
def built(name: str) -> list[Manifest]:
    """All objects of one target; the tests that use it are marked as needing kubectl."""
    made = kustomize.make(TARGETS[name])
    assert not made.problem, made.problem
    return made.manifests


def quick(target: Target) -> bool:
    """Whether it is an overlay as it is: building all the others takes longer than a quick test may."""
    return target.applied and target.folder.parent == DEPLOY / "overlays"


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if quick(target) else [pytest.mark.slow])
        for name, target in TARGETS.items()
    ]
)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    """All objects of one build."""
    return built(request.param)
