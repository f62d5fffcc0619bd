"""What the schemas cannot say: the objects fit each other, and every pod is as restricted as it can be."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from deploy.check import DEPLOY, Manifest, build, write_overlay

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

# Made by whoever runs the cluster, never committed.
SECRETS_FROM_OUTSIDE = {"gateway-tokens", "loadtest-token"}


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """The objects of one kind; a test that finds none would prove nothing."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert found, f"no {kind} in the overlay"
    return found


def pods(
    manifests: list[Manifest], kinds: tuple[str, ...] = ("Deployment", "Job")
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod template of everything of these kinds."""
    for manifest in manifests:
        if manifest["kind"] in kinds:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]


def lasting_pods(manifests: list[Manifest]) -> list[tuple[str, dict[str, Any]]]:
    """Name and pod template of every Deployment, which are there all the time."""
    found = list(pods(manifests, ("Deployment",)))
    assert found, "no Deployment in the overlay"
    return found


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pod's name and container, initialisation included."""
    for name, pod in pods(manifests):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield name, container


def labels_of_pods(manifests: list[Manifest]) -> list[dict[str, str]]:
    """The labels that selectors can match."""
    return [pod["metadata"]["labels"] for _, pod in pods(manifests)]


def selects_one(selector: dict[str, str], labels: list[dict[str, str]]) -> bool:
    """Whether exactly one kind of pod has all labels of the selector."""
    return sum(selector.items() <= of_pod.items() for of_pod in labels) == 1


def test_selectors_meet_the_pods_that_they_mean(manifests: list[Manifest]) -> None:
    """Every Service, Deployment and disruption budget selects exactly one kind of pod."""
    labels = labels_of_pods(manifests)
    for service in of_kind(manifests, "Service"):
        assert selects_one(service["spec"]["selector"], labels), service["metadata"]["name"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for manifest in of_kind(manifests, kind):
            assert selects_one(manifest["spec"]["selector"]["matchLabels"], labels), manifest["metadata"][
                "name"
            ]


def test_services_lead_to_ports_that_exist(manifests: list[Manifest]) -> None:
    """A Service's target port is the name of a port of the pods behind it."""
    ports = {
        pod["metadata"]["labels"]["app.kubernetes.io/name"]: {
            port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())
        }
        for _, pod in pods(manifests)
    }
    for service in of_kind(manifests, "Service"):
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert targets <= ports[service["spec"]["selector"]["app.kubernetes.io/name"]]


def test_what_pods_refer_to_exists(manifests: list[Manifest]) -> None:
    """Service accounts and configuration are in the overlay; secrets are those that the README names."""
    accounts = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ServiceAccount")}
    configs = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ConfigMap")}
    for name, pod in pods(manifests):
        volumes = pod["spec"]["volumes"]
        assert pod["spec"]["serviceAccountName"] in accounts, name
        assert {volume["configMap"]["name"] for volume in volumes if "configMap" in volume} <= configs, name
        secrets = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        assert secrets <= SECRETS_FROM_OUTSIDE, name
    for name, container in containers(manifests):
        sources = [variable["valueFrom"]["secretKeyRef"]["name"] for variable in container.get("env", ())]
        assert set(sources) <= SECRETS_FROM_OUTSIDE, name
        assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= configs, name


def test_pods_meet_the_restricted_standard(manifests: list[Manifest]) -> None:
    """Pod Security Standards, level restricted: no root, no privileges, no capabilities, seccomp."""
    for name, pod in pods(manifests):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 10_000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        allowed = ("configMap", "emptyDir", "secret")
        assert all(any(kind in volume for kind in allowed) for volume in pod["spec"]["volumes"]), name
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
    for name, container in containers(manifests):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert security["readOnlyRootFilesystem"] is True, name


def test_no_pod_gets_a_token_of_the_cluster(manifests: list[Manifest]) -> None:
    """None of them talks to the Kubernetes API."""
    for name, pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False, name


def test_containers_ask_for_what_they_need(manifests: list[Manifest]) -> None:
    """CPU and memory are requested and memory is limited; CPU is not, as throttling shows as latency."""
    for name, container in containers(manifests):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert container["resources"]["limits"].keys() == {"memory"}, name


def test_containers_have_all_three_probes(manifests: list[Manifest]) -> None:
    """Without a start-up probe a slow start is killed; without readiness a cold pod gets traffic."""
    for name, pod in lasting_pods(manifests):
        for container in pod["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name


def test_a_leaving_pod_has_time_to_drain(manifests: list[Manifest]) -> None:
    """The grace period is longer than preStop's wait and the drain after it."""
    drain_s = {"gateway": 25, "worker": 30}  # gateway.yaml; the longest attempt of the gateway
    for name, pod in lasting_pods(manifests):
        pause_s = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["spec"]["terminationGracePeriodSeconds"] > pause_s + drain_s[name], name


def test_only_the_gateway_reaches_the_workers(manifests: list[Manifest]) -> None:
    """TorchServe asks for no token in a pod; its policy admits the gateway to one port and nothing else."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["worker"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "worker"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}],
                "ports": [{"port": 7070}],
            }
        ],
        "egress": [],
    }


def test_the_namespace_enforces_the_restricted_standard(manifests: list[Manifest]) -> None:
    """A later pod that is less restricted is refused by the cluster."""
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert all(
        manifest["metadata"].get("namespace") == namespace["metadata"]["name"]
        for manifest in manifests
        if manifest is not namespace
    )


def test_the_load_test_reaches_the_gateway_and_is_reached_by_nobody_else() -> None:
    """Its policy admits workers to the master, and lets both out to the doors that the gateway has."""
    overlay, component = DEPLOY / "overlays" / "dev-cpu", DEPLOY / "components" / "loadtest"
    with TemporaryDirectory() as folder:
        write_overlay(Path(folder), overlay, component)
        manifests = build(Path(folder))
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    made = dict(pods(manifests))
    doors = {port["name"] for port in made["gateway"]["spec"]["containers"][0]["ports"]}
    gateway, master, _dns = policies["loadtest"]["egress"]
    assert gateway["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}]
    assert {port["port"] for port in gateway["ports"]} == doors
    assert master["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "loadtest-master"}}}]
    assert policies["loadtest"]["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "loadtest-worker"}}}],
            "ports": [{"port": "locust"}],
        }
    ]
    selected = policies["loadtest"]["podSelector"]["matchLabels"].items()
    meant = {name for name, pod in made.items() if selected <= pod["metadata"]["labels"].items()}
    assert meant == {"loadtest-master", "loadtest-worker"}


def test_the_load_tests_master_waits_for_as_many_workers_as_there_are() -> None:
    """The variable that the master reads, and the two numbers of the workers' Job, are one number."""
    component = DEPLOY / "components" / "loadtest"
    variables = (component / "loadtest.env").read_text(encoding="utf-8").splitlines()
    job = yaml.safe_load((component / "loadtest-worker-job.yaml").read_text(encoding="utf-8"))["spec"]
    assert f"WORKERS={job['parallelism']}" in variables
    assert job["parallelism"] == job["completions"]
