"""Each overlay gives every variant its model, device and room; each component changes what it says."""

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import yaml

from deploy.checking.gateway import gateway
from deploy.checking.kustomize import Manifest, build_with
from deploy.checking.paths import DEPLOY
from tests.deploy.conftest import built

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

OVERLAYS = {"dev-cpu": "eca se", "staging": "eca se sk", "production-gpu": "eca se sk"}
PRODUCTION = DEPLOY / "overlays" / "production-gpu"
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.18gb"
# Kubernetes' suffixes of quantities, as far as our manifests have them.
UNITS = {"": Decimal(1), "m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}


def objects(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """The objects of a kind by name, without the hash of those that are generated."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] == kind:
            found[re.sub(r"-[a-z0-9]{10}$", "", manifest["metadata"]["name"])] = manifest
    assert found, f"no {kind}"
    return found


def workers(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """The pod's specification of each variant."""
    return {
        name.removeprefix("worker-"): one["spec"]["template"]["spec"]
        for name, one in objects(manifests, "Deployment").items()
        if name.startswith("worker-")
    }


def archives(worker: dict[str, Any]) -> set[str]:
    """The models whose archives the init container fetches."""
    (fetch,) = worker["initContainers"]
    return {argument.removesuffix(".mar") for argument in fetch["args"] if argument.endswith(".mar")}


def amount(quantity: str | int) -> Decimal:
    """What Kubernetes means by a quantity."""
    match = re.fullmatch(r"(\d+)(m|Mi|Gi)?", str(quantity))
    assert match, quantity
    return Decimal(match[1]) * UNITS[match[2] or ""]


def wanted(manifests: list[Manifest], resource: str, kind: str) -> Decimal:
    """What all Deployments want at their largest, in the middle of a rollout."""
    return sum((of_one * count for of_one, count in _largest(manifests, resource, kind)), Decimal(0))


def _largest(manifests: list[Manifest], resource: str, kind: str) -> Iterator[tuple[Decimal, int]]:
    scalers = objects(manifests, "HorizontalPodAutoscaler")
    for name, deployment in objects(manifests, "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        most = scalers[name]["spec"]["maxReplicas"]
        surge = str(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"])
        more = math.ceil(most * int(surge[:-1]) / 100) if surge.endswith("%") else int(surge)
        together = sum(amount(one["resources"][kind].get(resource, 0)) for one in pod["containers"])
        first = [amount(one["resources"][kind].get(resource, 0)) for one in pod.get("initContainers", ())]
        yield max([Decimal(together), *first]), most + more


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_engines_are_the_variants(overlay: str) -> None:
    """Every variant has an engine, by the name of its headless Service, with just the models it fetches."""
    manifests = built(f"overlay {overlay}")
    found = gateway(manifests)
    assert found
    services = objects(manifests, "Service")
    engines = {engine.address: engine.names for engine in found.config.engines}
    assert engines == {
        f"dns:///worker-{variant}:7070": archives(worker) for variant, worker in workers(manifests).items()
    }
    assert sorted(workers(manifests)) == OVERLAYS[overlay].split()
    assert all(services[f"worker-{variant}"]["spec"]["clusterIP"] == "None" for variant in workers(manifests))


@pytest.mark.parametrize("overlay", ["staging", "production-gpu"])
def test_archives_are_pinned(overlay: str) -> None:
    """The sums come from the overlay, and it has one for every archive, and for no other."""
    manifests = built(f"overlay {overlay}")
    listed = objects(manifests, "ConfigMap")["models-sums"]["data"]["SHA256SUMS"].split()[1::2]
    fetched = set[str]()
    for worker in workers(manifests).values():
        (fetch,) = worker["initContainers"]
        (mount,) = (one for one in fetch["volumeMounts"] if one["name"] == "sums")
        assert f"--sums={mount['mountPath']}/SHA256SUMS" in fetch["args"]
        fetched |= archives(worker)
    assert {f"{model}.mar" for model in fetched} == set(listed)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_autoscaler_is_the_only_one_who_counts(overlay: str) -> None:
    """A Deployment has a number of replicas, or an autoscaler that follows the load of its models."""
    manifests = built(f"overlay {overlay}")
    deployments = objects(manifests, "Deployment")
    scaled = {one["metadata"]["name"] for one in manifests if one["kind"] == "HorizontalPodAutoscaler"}
    assert {name for name, one in deployments.items() if "replicas" not in one["spec"]} == scaled
    for name, worker in workers(manifests).items() if scaled else ():
        metrics = objects(manifests, "HorizontalPodAutoscaler")[f"worker-{name}"]["spec"]["metrics"]
        chosen = {one["external"]["metric"]["selector"]["matchLabels"]["model"] for one in metrics}
        assert chosen == archives(worker)


@pytest.mark.parametrize("target", ["overlay staging", "overlay production-gpu", "scenario challenger"])
def test_the_quota_has_room_for_all_that_scale(target: str) -> None:
    """All autoscalers at their most, all in a rollout, and a tenth for a load test and what else comes."""
    manifests = built(target)
    (quota,) = objects(manifests, "ResourceQuota").values()
    for key, room in quota["spec"]["hard"].items():
        if key == "pods":
            most = sum(count for _, count in _largest(manifests, "cpu", "requests"))
            assert amount(room) >= most + 10
        else:
            kind, _, resource = key.partition(".")
            reserve = Decimal(1) if resource == GPU else Decimal("1.1")
            assert amount(room) >= wanted(manifests, resource, kind) * reserve, key


def test_each_worker_has_a_gpu() -> None:
    """One whole GPU, on a node that has them; without it the worker stops. The gateway has none."""
    manifests = built("overlay production-gpu")
    for name, worker in workers(manifests).items():
        (container,) = worker["containers"]
        assert container["image"].partition("@")[0].endswith("/attnserve-worker-cuda"), name
        assert container["resources"]["limits"][GPU] == container["resources"]["requests"][GPU] == 1
        assert {"name": "ATTNSERVE_REQUIRE_GPU", "value": "1"} in container["env"]
        assert {"key": GPU, "operator": "Exists", "effect": "NoSchedule"} in worker["tolerations"]
        (shm,) = (one["emptyDir"] for one in worker["volumes"] if one["name"] == "shm")
        assert shm["medium"] == "Memory"
        assert amount(shm["sizeLimit"]) < amount(container["resources"]["limits"]["memory"])
    strategies = {
        name: one["spec"]["strategy"]["rollingUpdate"]
        for name, one in objects(manifests, "Deployment").items()
    }
    elastic, fixed = {"maxSurge": "25%", "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}
    assert strategies.pop("gateway") == elastic
    assert set(map(str, strategies.values())) == {str(fixed)}
    assert GPU not in yaml.safe_dump(objects(manifests, "Deployment")["gateway"])


@pytest.mark.slow
def test_a_slice_takes_the_place_of_a_gpu() -> None:
    """With the component mig no worker asks for a whole GPU, and the quota counts slices, too."""
    manifests = build_with(PRODUCTION, DEPLOY / "components" / "mig")
    for worker in workers(manifests).values():
        resources = worker["containers"][0]["resources"]
        assert resources["limits"][SLICE] == resources["requests"][SLICE] == 1
        assert GPU not in resources["limits"].keys() | resources["requests"].keys()
    (quota,) = objects(manifests, "ResourceQuota").values()
    assert amount(quota["spec"]["hard"][f"requests.{SLICE}"]) >= wanted(manifests, SLICE, "requests") > 0


@pytest.mark.slow
def test_a_writable_root_is_the_workers_alone() -> None:
    """Neither the gateway's nor the init container's, and the reason stands beside it."""
    manifests = build_with(PRODUCTION, DEPLOY / "components" / "gpu-writable-root")
    for name, one in objects(manifests, "Deployment").items():
        pod = one["spec"]["template"]["spec"]
        read_only = {
            container["name"]: container["securityContext"]["readOnlyRootFilesystem"]
            for container in [*pod.get("initContainers", ()), *pod["containers"]]
        }
        expected = {"gateway": True} if name == "gateway" else {"models": True, "worker": False}
        assert read_only == expected
        skips = [text for text in one["metadata"]["annotations"].values() if text.startswith("CKV_K8S_22=")]
        assert len(skips) == (name != "gateway")


@pytest.mark.slow
def test_an_image_volume_brings_the_variants_own_archive() -> None:
    """The image is the one that was pinned, nothing is copied, and each worker loads what it did before."""
    before = workers(built("overlay production-gpu"))
    after = workers(build_with(PRODUCTION, DEPLOY / "components" / "model-image-volume"))
    assert before.keys() == after.keys()
    for name, worker in after.items():
        assert "initContainers" not in worker
        (volume,) = (one for one in worker["volumes"] if one["name"] == "models")
        assert volume["image"]["reference"] == before[name]["initContainers"][0]["image"]
        (container,) = worker["containers"]
        (model,) = archives(before[name])
        assert {"name": "TS_LOAD_MODELS", "value": f"{model}.mar"} in container["env"]
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "models")
        assert mount == {"name": "models", "mountPath": "/models", "subPath": "archives", "readOnly": True}


@pytest.mark.slow
def test_models_from_an_address_open_the_way_to_it_alone() -> None:
    """The sums stay those of the overlay; workers reach HTTPS outside and DNS, and are reached as before."""
    manifests = build_with(PRODUCTION, DEPLOY / "components" / "models-from-url")
    policies = objects(manifests, "NetworkPolicy")
    for worker in workers(manifests).values():
        (fetch,) = worker["initContainers"]
        assert fetch["args"][:2] == ["--from", "$(MODELS_URL)"]
        assert "--sums=/etc/models/SHA256SUMS" in fetch["args"]
        (source,) = fetch["envFrom"]
        assert source["configMapRef"]["name"].startswith("models-from-url-")
    assert objects(manifests, "ConfigMap")["models-from-url"]["data"]["MODELS_URL"].startswith("https://")
    outside, dns = policies["worker-models"]["spec"]["egress"]
    assert outside["ports"] == [{"port": 443}]
    assert "169.254.0.0/16" in outside["to"][0]["ipBlock"]["except"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert policies["worker"]["spec"]["egress"] == []
