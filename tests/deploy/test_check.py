"""The manifests, Dockerfiles and YAML pass every check, and the checks find what is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import check

KUBECTL = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

SERVICE: check.Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "gateway"},
    "spec": {"selector": {"app.kubernetes.io/name": "gateway"}, "ports": [{"port": 8000}]},
}


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, id=name, marks=[KUBECTL] if name.startswith("overlay") else [])
        for name, run in check.checks().items()
    ],
)
def test_everything_in_deploy_is_right(run: Callable[[], list[str]]) -> None:
    """No check finds a problem in the repository's own files."""
    assert run() == []


def test_there_is_something_to_check() -> None:
    """The checks found the overlay and both Dockerfiles; an empty list would prove nothing."""
    assert {"overlay dev-cpu", "gateway.Dockerfile", "worker.Dockerfile", "yamllint"} <= check.checks().keys()


def test_a_right_object_passes() -> None:
    """The Service that the next tests spoil has no problem itself."""
    assert check.check_manifests([SERVICE]) == []


def test_a_misspelt_key_is_found() -> None:
    """The schemas are strict: an unknown key is a problem on every version."""
    problems = check.check_manifests([SERVICE | {"spec": SERVICE["spec"] | {"selektor": {}}}])
    assert len(problems) == len(check.KUBERNETES_VERSIONS)
    assert all("selektor" in problem for problem in problems)


def test_a_wrong_type_is_found_where_it_is() -> None:
    """The problem names the object and the path to the value."""
    problems = check.check_manifests([SERVICE | {"spec": {"ports": [{"port": "http"}]}}])
    assert all(problem.startswith("Service/gateway on Kubernetes") for problem in problems)
    assert all("spec.ports.0.port" in problem for problem in problems)


def test_a_kind_without_schema_is_a_problem() -> None:
    """An API version that was removed, or a resource whose schema we do not have, is never passed over."""
    problems = check.check_manifests(
        [{"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler"}]
    )
    assert len(problems) == len(check.KUBERNETES_VERSIONS)
    assert all("Couldn't find schema" in problem for problem in problems)


@KUBECTL
def test_a_broken_overlay_is_a_problem(tmp_path: Path) -> None:
    """What kustomize refuses is reported with its own words."""
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n", encoding="utf-8")
    problems = check.check_overlay(tmp_path)
    assert len(problems) == 1
    assert "missing.yaml" in problems[0]


@KUBECTL
def test_an_empty_overlay_is_a_problem(tmp_path: Path) -> None:
    """An overlay that builds to no objects cannot pass by having nothing to check."""
    (tmp_path / "kustomization.yaml").write_text("namePrefix: x-\nconfigurations: []\n", encoding="utf-8")
    assert check.check_overlay(tmp_path) != []


def test_a_missing_kubectl_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kubectl an overlay is not passed over, and the problem says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check.check_overlay(tmp_path) == [
        "kubectl is not on PATH; to install it: https://kubernetes.io/docs/tasks/tools/#kubectl"
    ]


def test_a_careless_dockerfile_is_found(tmp_path: Path) -> None:
    """Hadolint runs for real: an unpinned base image is a finding."""
    path = tmp_path / "careless.Dockerfile"
    path.write_text("FROM python\nRUN cd /tmp\n", encoding="utf-8")
    assert any("DL3006" in problem for problem in check.check_dockerfile(path))
