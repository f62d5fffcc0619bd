"""What is in deploy/ passes every check, and the checks find what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from deploy.checking import __main__ as command
from deploy.checking import dashboards, files, kustomize, paths, prometheus, schemas, security
from deploy.checking.kustomize import Build, BuildError, Manifest, Target
from deploy.checking.outcome import Outcome, Row, counted, table, without_program
from deploy.checking.prometheus import HOW_TO_INSTALL

KUBECTL = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")
PROMTOOL = pytest.mark.needs_program("promtool", how=HOW_TO_INSTALL)
SLOW = pytest.mark.slow
# Continuous integration runs `make deploy-check` as well.
LONG = pytest.mark.exhaustive

# What a check needs beside Python, or that it takes many seconds; the others run as they are.
MARKS = {
    "Kubernetes schemas": [LONG],
    "checkov": [LONG],
    "Prometheus rules": [PROMTOOL],
    "tests of rules": [PROMTOOL, LONG],
    "Prometheus configuration": [PROMTOOL],
    "dashboards' queries": [PROMTOOL],
    "yamllint": [LONG],
}

SERVICE: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "gateway"},
    "spec": {"selector": {"app.kubernetes.io/name": "gateway"}, "ports": [{"port": 8000}]},
}
SCALED: Manifest = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "worker"},
    "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": []},
}
CRD = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "scaleTargetRef": {"type": "object"},
                "triggers": {"type": "array"},
            },
            "additionalProperties": False,
        },
    },
    "x-cel-rules-not-checked": 3,
}


def build_of(*manifests: Manifest) -> Build:
    """A build of these objects, as if dev-cpu had them."""
    folder = paths.DEPLOY / "overlays" / "dev-cpu"
    return Build(target=Target(name="overlay dev-cpu", folder=folder), manifests=list(manifests))


@cache
def made(*, whole: bool) -> list[Build]:
    """What a check is run on here: the overlays, or all that there is to build."""
    targets = kustomize.targets()
    quick = [target for target in targets if target.applied and target.folder.parent.name == "overlays"]
    return [kustomize.make(target) for target in (targets if whole else quick)]


@KUBECTL
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in command.checks([])]
)
def test_what_is_in_deploy_is_right(name: str) -> None:
    """No check finds a problem in the repository's own overlays and files."""
    outcome = command.checks(made(whole=LONG in MARKS.get(name, ())))[name]()
    assert not outcome.problems
    assert outcome.looked_at or outcome.skipped


@LONG
@KUBECTL
@pytest.mark.parametrize("name", [name for name in command.checks([]) if name.startswith("contract")])
def test_scenarios_and_components_keep_the_contract(name: str) -> None:
    """So do the scenarios, and the overlays with each component that suits them."""
    assert not command.checks(made(whole=True))[name]().problems


@LONG
@KUBECTL
def test_everything_builds() -> None:
    """Every overlay, scenario, variant, and component where it suits, is one that kustomize builds."""
    assert kustomize.check_builds(made(whole=True)).problems == []


def test_there_is_something_to_check() -> None:
    """Overlays, components and Dockerfiles were found; an empty list would prove nothing."""
    names = {target.name for target in kustomize.targets()}
    assert {
        "overlay dev-cpu",
        "overlay production-gpu",
        "variant se",
        "component loadtest in dev-cpu",
    } <= names
    assert {path.name for path in paths.dockerfiles()} >= {"gateway.Dockerfile", "worker.Dockerfile"}


def test_a_component_is_not_added_to_what_has_it() -> None:
    """Such a component is built with the overlay; others where their annotation says, or everywhere."""
    pairs = [
        (target.component, target.folder) for target in kustomize.targets() if target.component is not None
    ]
    assert pairs
    for component, overlay in pairs:
        assert component not in kustomize.reached(overlay)
    gpu = paths.DEPLOY / "components" / "gpu"
    production = paths.DEPLOY / "overlays" / "production-gpu"
    assert gpu in kustomize.reached(production)
    assert production not in kustomize.suitable_overlays(gpu)


def test_what_no_build_takes_in_is_a_problem() -> None:
    """A component that suits nothing, or a variant nobody uses, is not passed over."""
    problems = kustomize.check_builds([build_of(SERVICE)]).problems
    assert any("variants/sk: no overlay" in problem for problem in problems)
    assert not any("base/gateway" in problem for problem in problems)


def test_a_right_object_passes() -> None:
    """The Service that the next tests spoil has no problem itself."""
    assert schemas.check_manifests([SERVICE]) == []


def test_a_misspelt_key_is_found() -> None:
    """The schemas are strict: an unknown key is a problem on every version."""
    problems = schemas.check_manifests([SERVICE | {"spec": SERVICE["spec"] | {"selektor": {}}}])
    assert len(problems) == len(schemas.KUBERNETES_VERSIONS)
    assert all("selektor" in problem for problem in problems)


def test_a_wrong_type_is_found_where_it_is() -> None:
    """The problem names the object and the path to the value."""
    problems = schemas.check_manifests([SERVICE | {"spec": {"ports": [{"port": "http"}]}}])
    assert all(problem.startswith("Service/gateway on Kubernetes") for problem in problems)
    assert all("spec.ports.0.port" in problem for problem in problems)


def test_a_kind_without_schema_is_a_problem() -> None:
    """An API version that was removed is never passed over, nor taken for a custom resource."""
    removed = {"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler"}
    assert not schemas.is_custom(removed)
    problems = schemas.check_manifests([removed])
    assert len(problems) == len(schemas.KUBERNETES_VERSIONS)
    assert all("Couldn't find schema" in problem for problem in problems)


def test_an_object_of_several_builds_is_checked_once() -> None:
    """The table counts different objects, not copies."""
    outcome = schemas.check_kubernetes([build_of(SERVICE), build_of(SERVICE)])
    assert outcome.looked_at.startswith("1 object on ")


def test_a_right_custom_resource_passes(tmp_path: Path) -> None:
    """It is held against the schema of its CRD, and the table says how many rules that does not hold."""
    (tmp_path / "scaledobject_keda.sh_v1alpha1.json").write_text(json.dumps(CRD), encoding="utf-8")
    outcome = schemas.check_custom([build_of(SERVICE, SCALED)], tmp_path)
    assert outcome == Outcome(looked_at="1 object; 3 CEL rules not checked", problems=[])


def test_everything_wrong_in_a_custom_resource_is_found(tmp_path: Path) -> None:
    """Both mistakes are told, each with its place."""
    (tmp_path / "scaledobject_keda.sh_v1alpha1.json").write_text(json.dumps(CRD), encoding="utf-8")
    wrong = SCALED | {"spec": {"scaleTargetReff": {}, "triggers": "none"}}
    problems = schemas.check_custom_manifests([wrong], tmp_path)
    assert len(problems) == 2
    assert any("scaleTargetReff" in problem for problem in problems)
    assert any(problem.startswith("ScaledObject/worker: spec.triggers: ") for problem in problems)


def test_a_custom_resource_without_schema_is_a_problem(tmp_path: Path) -> None:
    """The sentence says which file is wanted, and where."""
    (problem,) = schemas.check_custom_manifests([SCALED], tmp_path)
    assert problem == (
        "ScaledObject/worker: no schema for keda.sh/v1alpha1: add scaledobject_keda.sh_v1alpha1.json, made "
        f"from its CRD, to {tmp_path}"
    )


def test_a_missing_folder_of_schemas_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It skips with its reason, where a missing program is a failure as well."""
    monkeypatch.setenv("REQUIRE_ALL", "1")
    outcome = schemas.check_custom([build_of(SCALED)], tmp_path / "none")
    assert outcome.word == "skipped"
    assert "CRD_SCHEMAS=DIR" in outcome.skipped


def test_the_folder_of_schemas_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRD_SCHEMAS names it; without that it lies beside the repository."""
    monkeypatch.delenv("CRD_SCHEMAS", raising=False)
    assert schemas.crd_schemas() == paths.ROOT.parent / "shared" / "schemas"
    monkeypatch.setenv("CRD_SCHEMAS", str(tmp_path))
    assert schemas.crd_schemas() == tmp_path


@KUBECTL
def test_a_broken_overlay_is_a_problem(tmp_path: Path) -> None:
    """What kustomize refuses is reported with its own words."""
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n", encoding="utf-8")
    build = kustomize.make(Target(name="overlay broken", folder=tmp_path))
    assert build.manifests == []
    assert build.problem.startswith("overlay broken: ")
    assert "missing.yaml" in build.problem


@KUBECTL
def test_a_kustomization_that_is_no_yaml_is_a_problem(tmp_path: Path) -> None:
    """It is one sentence, in kustomize's words, and not the end of all checks."""
    (tmp_path / "kustomization.yaml").write_text("resources\nlabels: []\n", encoding="utf-8")
    assert kustomize.reached(tmp_path) == {tmp_path}
    build = kustomize.make(Target(name="overlay broken", folder=tmp_path))
    assert build.problem.startswith("overlay broken: ")


@KUBECTL
def test_an_empty_overlay_is_a_problem(tmp_path: Path) -> None:
    """An overlay that builds to no objects cannot pass by having nothing to check."""
    (tmp_path / "kustomization.yaml").write_text("namePrefix: x-\nconfigurations: []\n", encoding="utf-8")
    with pytest.raises(BuildError):
        kustomize.build(tmp_path)


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
    shutil.copytree(paths.DEPLOY / "components" / "loadtest", component)
    text = (component / file).read_text(encoding="utf-8")
    assert right in text
    (component / file).write_text(text.replace(right, wrong), encoding="utf-8")
    overlay = paths.DEPLOY / "overlays" / "dev-cpu"
    build = kustomize.make(Target(name="component loadtest", folder=overlay, component=component))
    jobs = [manifest for manifest in build.manifests if manifest["kind"] == "Job"]
    problems = [build.problem] if build.problem else schemas.check_manifests(jobs)
    assert problems
    assert all(says in problem for problem in problems)


def test_a_missing_kubectl_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kubectl an overlay is not passed over, and the problem says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    build = kustomize.make(Target(name="overlay", folder=paths.DEPLOY / "overlays" / "dev-cpu"))
    assert build.problem == (
        "overlay: kubectl is not on PATH; to install it: https://kubernetes.io/docs/tasks/tools/#kubectl"
    )


def test_without_kubectl_that_is_said_once_and_nothing_is_called_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No check of objects says ok where there were none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    overlays = [Target(name=name, folder=paths.DEPLOY / "overlays" / name) for name in ("dev-cpu", "staging")]
    builds = [kustomize.make.__wrapped__(overlay) for overlay in overlays]
    assert kustomize.check_builds(builds).problems == [kustomize.NO_KUBECTL]
    of_objects = [name for name in command.checks([]) if "contract" in name or "resources" in name]
    assert {command.checks(builds)[name]().word for name in of_objects} == {"skipped"}


def test_a_program_that_dies_without_a_word_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, for instance because memory ran out, it has not found that all is right."""
    for name in ("promtool", "hadolint"):
        (tmp_path / name).write_text("#!/bin/sh\nkill -KILL $$\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(paths, "TOOLS", tmp_path)
    for check in (prometheus.check_rules, dashboards.check_queries, files.check_dockerfiles):
        assert "did not say why" in check().problems[0]


@pytest.mark.parametrize("check", [files.check_dockerfiles, files.check_yaml])
def test_a_tool_that_is_not_installed_is_said(
    check: Callable[[], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is printed all the same, and tells how to get it."""
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    monkeypatch.setattr(paths, "TOOLS", tmp_path)
    assert files.HOW_TO_INSTALL in check().skipped


def test_a_missing_program_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It skips with how to install it; where all is required the same is a failure."""
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    assert without_program("promtool", "apt") == Outcome(skipped="promtool is missing; to install it: apt")
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert without_program("promtool", "apt").word == "FAIL"


def test_a_careless_dockerfile_is_found(tmp_path: Path) -> None:
    """Hadolint runs for real: an unpinned base image is a finding."""
    path = tmp_path / "careless.Dockerfile"
    path.write_text("FROM python\nRUN cd /tmp\n", encoding="utf-8")
    assert any("DL3006" in problem for problem in files.check_dockerfile(path))


@pytest.mark.parametrize("path", paths.dockerfiles(), ids=lambda path: path.name)
def test_what_an_image_is_made_of_reaches_its_build(path: Path) -> None:
    """All that is copied from the repository is let through by .dockerignore, which leaves out the rest."""
    let_through = {
        line[1:]
        for line in (paths.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in path.read_text(encoding="utf-8").splitlines() if "COPY " in line]
    sources = {Path(source) for line in copied if line[0][:2] != "--" for source in line}
    assert sources
    for source in sources:
        assert {str(source), *map(str, source.parents)} & let_through, source


def test_the_table_shows_what_was_looked_at() -> None:
    """One line a check, in columns; a check that was skipped shows why."""
    rows = [
        Row(name="one", outcome=Outcome(looked_at="2 builds"), seconds=0.25),
        Row(name="another", outcome=Outcome(skipped="no program"), seconds=0.0),
        Row(name="third", outcome=Outcome(looked_at="all", problems=["wrong"]), seconds=12.0),
    ]
    assert table(rows).splitlines() == [
        "check    looked at   result   seconds",
        "one      2 builds    ok           0.2",
        "another  no program  skipped      0.0",
        "third    all         FAIL        12.0",
    ]


def test_numbers_have_their_noun() -> None:
    """One is singular; a plural without s is given."""
    assert [counted(1, "query", "queries"), counted(2, "query", "queries"), counted(0, "build")] == [
        "1 query",
        "2 queries",
        "0 builds",
    ]


@pytest.mark.parametrize(("problems", "code"), [((), 0), (("the sky is falling",), 1)])
def test_the_exit_code_tells_whether_something_failed(
    problems: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is 1 where a check has a problem, which is printed above the table."""
    monkeypatch.setattr(kustomize, "make_all", list)
    monkeypatch.setattr(kustomize, "check_builds", lambda _: Outcome(looked_at="nothing"))
    monkeypatch.setattr(
        command, "checks", lambda _: {"sky": lambda: Outcome(looked_at="1", problems=problems)}
    )
    assert command.main() == code
    printed = capsys.readouterr().out
    assert ("FAIL sky: the sky is falling" in printed) == bool(problems)
    assert ("failed: sky" in printed) == bool(problems)


@SLOW
def test_yaml_is_checked_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which the command runs plays no part."""
    monkeypatch.chdir(tmp_path)
    assert files.check_yaml().problems == []


def test_a_check_that_stumbles_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule may meet an object that is not as its schema has it; the schemas' finding is still told."""
    monkeypatch.setattr(kustomize, "make_all", list)
    monkeypatch.setattr(kustomize, "check_builds", lambda _: Outcome(looked_at="nothing"))
    found = {"rule": lambda: SCALED["missing"], "schemas": lambda: Outcome(problems=["Reff is unknown"])}
    monkeypatch.setattr(command, "checks", lambda _: found)
    assert command.main() == 1
    printed = capsys.readouterr().out
    assert "FAIL rule: broke off with KeyError: 'missing'" in printed
    assert "FAIL schemas: Reff is unknown" in printed


@SLOW
@pytest.mark.skipif(
    not security.program().is_file(), reason=f"needs checkov; to install it: {security.HOW_TO_INSTALL}"
)
def test_checkov_finds_what_is_careless(tmp_path: Path) -> None:
    """It reads objects and Dockerfiles in one run; what is skipped beside the resource is not told."""
    pod = {"containers": [{"name": "c", "image": "python:3.11", "securityContext": {"privileged": True}}]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "careless", "annotations": {"checkov.io/skip1": "CKV_K8S_43=a test"}},
        "spec": {"template": {"spec": pod}},
    }
    dockerfile = tmp_path / "careless.Dockerfile"
    dockerfile.write_text("FROM python:3.11\n# checkov:skip=CKV_DOCKER_2:a test\n", encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    security.write(folder, [build_of(deployment)], [dockerfile])
    outcome = security.run(folder)
    assert any(
        problem.startswith("Deployment.default.careless: CKV_K8S_16") for problem in outcome.problems
    ), outcome.problems
    assert any("CKV_DOCKER_3" in problem for problem in outcome.problems)
    assert not any("CKV_K8S_43" in problem or "CKV_DOCKER_2," in problem for problem in outcome.problems)
    assert "2 justified skips" in outcome.looked_at


def test_a_skip_without_reason_is_a_problem() -> None:
    """What checkov leaves out must say why, beside the resource."""
    annotations = {"checkov.io/skip1": "CKV_K8S_43", "checkov.io/skip2": "CKV_K8S_15=a reason", "note": "x"}
    assert security.unjustified(
        [SERVICE | {"metadata": {"name": "gateway", "annotations": annotations}}]
    ) == ["Service/gateway: checkov.io/skip1 has no reason: write CKV_K8S_43=REASON"]
