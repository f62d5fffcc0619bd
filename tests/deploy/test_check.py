"""The manifests, Dockerfiles and YAML pass every check, and the checks find what is wrong."""

import shutil
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
        pytest.param(run, id=name, marks=[KUBECTL] if name.startswith(("overlay", "component")) else [])
        for name, run in check.checks().items()
    ],
)
def test_everything_in_deploy_is_right(run: Callable[[], list[str]]) -> None:
    """No check finds a problem in the repository's own files."""
    assert run() == []


def test_there_is_something_to_check() -> None:
    """The checks found the overlay, the component and all Dockerfiles; an empty list would prove nothing."""
    kustomized = {"overlay dev-cpu", "component loadtest in dev-cpu"}
    images = {f"{name}.Dockerfile" for name in ("gateway", "loadtest", "worker")}
    assert {*kustomized, *images, "yamllint"} <= check.checks().keys()


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
@pytest.mark.parametrize(
    ("file", "right", "wrong", "says"),
    [
        ("loadtest-master-job.yaml", "mountPath: /tmp", "path: /tmp", "volumeMounts"),
        ("kustomization.yaml", "loadtest.env", "missing.env", "missing.env"),
    ],
)
def test_a_broken_component_is_a_problem(
    file: str, right: str, wrong: str, says: str, tmp_path: Path
) -> None:
    """It is built and held against the schemas within an overlay; by itself nothing would look at it."""
    component = tmp_path / "loadtest"
    shutil.copytree(check.DEPLOY / "components" / "loadtest", component)
    text = (component / file).read_text(encoding="utf-8")
    assert right in text
    (component / file).write_text(text.replace(right, wrong), encoding="utf-8")
    problems = check.check_component(component, check.DEPLOY / "overlays" / "dev-cpu")
    assert problems
    assert all(says in problem for problem in problems)


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


@pytest.mark.parametrize("path", check.dockerfiles(), ids=lambda path: path.name)
def test_what_an_image_is_made_of_reaches_its_build(path: Path) -> None:
    """All that is copied from the repository is let through by .dockerignore, which leaves out the rest."""
    root = check.DEPLOY.parent
    let_through = {
        line[1:]
        for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in path.read_text(encoding="utf-8").splitlines() if "COPY " in line]
    sources = {Path(source) for line in copied if line[0][:2] != "--" for source in line}
    assert sources
    for source in sources:
        assert {str(source), *map(str, source.parents)} & let_through, source
