"""What the schemas cannot say: the objects fit each other, and every pod is as restricted as it can be."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.check import Manifest

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

# Made by whoever runs the cluster, never committed.
SECRETS_FROM_OUTSIDE = {"gateway-tokens"}


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """The objects of one kind; a test that finds none would prove nothing."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert found, f"no {kind} in the overlay"
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod template of every Deployment."""
    for deployment in of_kind(manifests, "Deployment"):
        yield deployment["metadata"]["name"], deployment["spec"]["template"]


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
            port["name"] for container in pod["spec"]["containers"] for port in container["ports"]
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
    """Neither gateway nor worker talks to the Kubernetes API."""
    for name, pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False, name


def test_containers_ask_for_what_they_need(manifests: list[Manifest]) -> None:
    """CPU and memory are requested and memory is limited; CPU is not, as throttling shows as latency."""
    for name, container in containers(manifests):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert container["resources"]["limits"].keys() == {"memory"}, name


def test_containers_have_all_three_probes(manifests: list[Manifest]) -> None:
    """Without a start-up probe a slow start is killed; without readiness a cold pod gets traffic."""
    for name, container in containers(manifests):
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name


def test_a_leaving_pod_has_time_to_drain(manifests: list[Manifest]) -> None:
    """The grace period is longer than preStop's wait and the drain after it."""
    drain_s = {"gateway": 25, "worker": 30}  # gateway.yaml; the longest attempt of the gateway
    for name, pod in pods(manifests):
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
