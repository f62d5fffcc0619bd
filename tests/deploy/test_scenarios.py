"""Scenarios: each is one command over an overlay, and does what it says."""

import asyncio
import functools
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml
from typer.main import get_command
from typer.testing import CliRunner, Result

from deploy.checking import kustomize
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import named, of_kind
from deploy.checking.paths import DEPLOY, scenarios
from loadtests.running.command import app as load_tests
from serve.cli import app
from serve.core.access import Access
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from tests.edge.doors import as_service, http_door
from tests.edge.fakes import FakeService
from tests.experiments.gateway import LABELS, gateways

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

NAMES = [path.name for path in scenarios()]


@functools.cache
def built(name: str) -> list[Manifest]:
    """The objects of a scenario."""
    return kustomize.build(DEPLOY / "scenarios" / name)


@functools.cache
def overlay(name: str) -> list[Manifest]:
    """The objects of an overlay."""
    return kustomize.build(DEPLOY / "overlays" / name)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """An object that must be there."""
    found = named(manifests, kind, name)
    assert found is not None, f"{kind}/{name}"
    return found


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the gateway's log out of what commands print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_says_its_command(name: str) -> None:
    """The comment at the top has the command that applies it."""
    text = (DEPLOY / "scenarios" / name / "kustomization.yaml").read_text()
    comment = [line for line in text.partition("apiVersion")[0].splitlines() if line]
    assert all(line.startswith("#") for line in comment)
    assert len(comment) > 2
    assert any(f"kubectl apply --kustomize deploy/scenarios/{name}" in line for line in comment)


@pytest.mark.parametrize("name", ["compare-se-eca", pytest.param("challenger", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("quiet")
async def test_the_experiment_of_a_scenario_runs(name: str, tmp_path: Path) -> None:
    """The Job's own command line starts it at a gateway, and running again changes nothing."""
    manifests = built(name)
    (job,) = one(manifests, "Job", "experiment")["spec"]["template"]["spec"]["containers"]
    document = one(manifests, "ConfigMap", "experiment")["data"]["experiment.yaml"]
    (tmp_path / "experiment.yaml").write_text(document)
    design = yaml.safe_load(document)
    async with gateways(tmp_path) as (gateway,):
        for arm in design["arms"]:
            gateway.load(f"{arm['model']}:{arm['version']}", LABELS)
        rest = build_rest_app(as_service(FakeService()), Access(), EdgeLimits(), gateway.desk)
        async with http_door(rest) as port:
            words = [
                word.replace("http://gateway:8000", f"http://127.0.0.1:{port}").replace(
                    "/etc/attnserve/experiment", str(tmp_path)
                )
                for word in [*job["command"], *job["args"]]
                if word != "--wait"  # for the time at which it is in force: this gateway's clock stands still
            ]
            assert words[0] == "attnserve"
            for _ in range(2):
                done = await _run(words[1:])
                assert done.exit_code == 0, done.output
                running = gateway.desk.get(design["name"])
                assert (running.state.value, running.number) == ("running", 2)


async def _run(words: list[str]) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, words))


@pytest.mark.slow
def test_keda_takes_the_place_of_the_hpas() -> None:
    """Every worker that staging scales has a ScaledObject with as many replicas at least, and no HPA."""
    before = {
        hpa["metadata"]["name"]: hpa["spec"] for hpa in of_kind(overlay("staging"), "HorizontalPodAutoscaler")
    }
    workers = {name: spec for name, spec in before.items() if name.startswith("worker-")}
    assert len(workers) == 3
    after = [hpa["metadata"]["name"] for hpa in of_kind(built("keda"), "HorizontalPodAutoscaler")]
    assert after == [name for name in before if name not in workers]
    scaled = {one_["metadata"]["name"]: one_["spec"] for one_ in of_kind(built("keda"), "ScaledObject")}
    assert scaled.keys() == workers.keys()
    for name, spec in scaled.items():
        assert spec["minReplicaCount"] == workers[name]["minReplicas"]
        assert spec["fallback"]["replicas"] >= spec["minReplicaCount"]


def test_the_load_test_measures_one_worker_that_nothing_scales() -> None:
    """One gateway, whose counts are compared, a worker of each variant, and options that the command has."""
    manifests = built("loadtest")
    assert list(of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")) == []
    assert {job["metadata"]["name"]: job["spec"]["replicas"] for job in of_kind(manifests, "Deployment")} == {
        "gateway": 1, "worker-eca": 1, "worker-se": 1, "worker-sk": 1,
    }  # fmt: skip
    (data,) = [
        config["data"]
        for config in of_kind(manifests, "ConfigMap")
        if config["metadata"]["name"].startswith("loadtest")
    ]
    command = get_command(load_tests)
    asked = command.make_context("loadtests", shlex.split(data["LOADTEST"])).params
    assert (asked["scenario"], asked["models"]) == ("capacity", "digits_se")


@pytest.mark.slow
def test_the_challenger_leaves_production_as_it_is() -> None:
    """It adds its own variant, from one worker on, and what tells the gateway of it; nothing else changes."""
    before = {(m["kind"], _name(m)): m for m in overlay("production-gpu")}
    after = {(m["kind"], _name(m)): m for m in built("challenger")}
    assert before.keys() <= after.keys()
    added = {kind for kind in after if kind not in before}
    assert {("Deployment", "worker-plain"), ("HorizontalPodAutoscaler", "worker-plain")} <= added
    assert after["HorizontalPodAutoscaler", "worker-plain"]["spec"]["minReplicas"] == 1
    changed = {kind for kind in before if _plain(before[kind]) != _plain(after[kind])}
    assert changed == {("ConfigMap", "gateway-engines"), ("ConfigMap", "models-sums")}
    engines = yaml.safe_load(after["ConfigMap", "gateway-engines"]["data"]["engines"])
    old = yaml.safe_load(before["ConfigMap", "gateway-engines"]["data"]["engines"])
    assert [engine for engine in engines if engine not in old] == [
        {"address": "dns:///worker-plain:7070", "models": ["resnet50"]}
    ]


def _name(manifest: Manifest) -> str:
    """Without the hash that the name of a generated ConfigMap ends with."""
    name: str = manifest["metadata"]["name"]
    return name.rpartition("-")[0] if manifest["kind"] == "ConfigMap" and name[-11:-10] == "-" else name


def _plain(manifest: Manifest) -> str:
    """Without names, which references repeat with other hashes."""
    text = json.dumps({key: value for key, value in manifest.items() if key != "metadata"}, sort_keys=True)
    for name in ("gateway-engines", "models-sums"):
        before, found, after = text.partition(f'"{name}-')
        text = before + (f'"{name}"' + after[11:] if found else "")
    return text
