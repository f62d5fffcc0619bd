"""What the schemas cannot say: the objects fit each other, and every pod is as restricted as it can be."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy.checking.by_reference import SECRETS
from deploy.checking.gateway import gateway
from deploy.checking.kustomize import Manifest, build_with
from deploy.checking.paths import DEPLOY
from serve.app import CLOSING_SHARE
from serve.edge.grpc_api import ANY_MODEL, PROCESS

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

NAME = "app.kubernetes.io/name"
# What the CoreDNS of kubeadm gives: `ttl 30` in its Corefile.
DNS_LIFE_S = 30
# Of Services' virtual addresses, and of `ttl 5`, as deploy/README.md advises who balances by DNS.
SHORT_DNS_LIFE_S = 5


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


def selects_one(selector: dict[str, str], manifests: list[Manifest]) -> bool:
    """Whether exactly one kind of pod has all labels of the selector."""
    labels: list[dict[str, str]] = [pod["metadata"]["labels"] for _, pod in pods(manifests)]
    return sum(selector.items() <= of_pod.items() for of_pod in labels) == 1


def leaving(pod: dict[str, Any]) -> tuple[float, float]:
    """Seconds of a pod's preStop, and of its grace period."""
    pause_s = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    return pause_s, pod["spec"]["terminationGracePeriodSeconds"]


def test_selectors_meet_the_pods_that_they_mean(manifests: list[Manifest]) -> None:
    """Every Service, Deployment and disruption budget selects exactly one kind of pod, of one variant."""
    for service in of_kind(manifests, "Service"):
        assert selects_one(service["spec"]["selector"], manifests), service["metadata"]["name"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for manifest in of_kind(manifests, kind):
            labels = manifest["spec"]["selector"]["matchLabels"]
            assert selects_one(labels, manifests), manifest["metadata"]["name"]


def test_pods_are_spread_with_their_own_kind(manifests: list[Manifest]) -> None:
    """Over nodes and zones, each variant for itself; gateways that all share a node would all go with it.

    Nodes whose taints keep the pods out do not count: empty for ever, they would leave one gateway to a node.
    """
    for name, pod in lasting_pods(manifests):
        constraints = pod["spec"]["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in constraints] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]
        for constraint in constraints:
            assert selects_one(constraint["labelSelector"]["matchLabels"], manifests), name
            assert constraint["nodeTaintsPolicy"] == "Honor", name
        assert (constraints[0]["whenUnsatisfiable"] == "DoNotSchedule") == (name == "gateway")


def test_services_lead_to_ports_that_exist(manifests: list[Manifest]) -> None:
    """A Service's target port is the name of a port of the pods behind it."""
    ports = {
        pod["metadata"]["labels"][NAME]: {
            port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())
        }
        for _, pod in pods(manifests)
    }
    for service in of_kind(manifests, "Service"):
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert targets <= ports[service["spec"]["selector"][NAME]]


def test_a_gateway_is_scraped_through_one_service(manifests: list[Manifest]) -> None:
    """Of the two Services of the gateway one leads to the metrics; else each gateway would count twice."""
    doors = {
        service["metadata"]["name"]: {port["name"] for port in service["spec"]["ports"]}
        for service in of_kind(manifests, "Service")
        if service["spec"]["selector"][NAME] == "gateway"
    }
    assert doors == {"gateway": {"http", "grpc", "metrics"}, "gateway-headless": {"grpc"}}


def test_what_pods_refer_to_exists(manifests: list[Manifest]) -> None:
    """Service accounts and configuration are in the overlay; secrets are those that the README names."""
    accounts = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ServiceAccount")}
    configs = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ConfigMap")}
    for name, pod in pods(manifests):
        volumes = pod["spec"]["volumes"]
        assert pod["spec"]["serviceAccountName"] in accounts, name
        assert {volume["configMap"]["name"] for volume in volumes if "configMap" in volume} <= configs, name
        secrets = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        assert secrets <= SECRETS.keys(), name
    for name, container in containers(manifests):
        sources = [variable.get("valueFrom", {}) for variable in container.get("env", ())]
        assert {one["secretKeyRef"]["name"] for one in sources if "secretKeyRef" in one} <= SECRETS.keys(), (
            name
        )
        assert {one["configMapKeyRef"]["name"] for one in sources if "configMapKeyRef" in one} <= configs, (
            name
        )
        assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= configs, name


def test_the_readme_names_every_secret() -> None:
    """Whoever deploys learns which Secrets there must be."""
    text = "".join(path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*.md"))
    assert [name for name in SECRETS if name not in text] == []


def test_pods_meet_the_restricted_standard(manifests: list[Manifest]) -> None:
    """Pod Security Standards, level restricted: no root, no privileges, no capabilities, seccomp."""
    for name, pod in pods(manifests):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 10_000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        # Images are allowed since 1.33 (kubernetes/kubernetes#130394).
        allowed = ("configMap", "emptyDir", "image", "secret")
        assert all(any(kind in volume for kind in allowed) for volume in pod["spec"]["volumes"]), name
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
    for name, container in containers(manifests):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name


def test_no_container_writes_to_its_root(manifests: list[Manifest]) -> None:
    """But where the check for it is skipped with a reason, and then the worker's alone."""
    for owner in manifests:
        skips = owner["metadata"].get("annotations", {}).values()
        excused = {"worker"} if any(skip.startswith("CKV_K8S_22=") for skip in skips) else set()
        for name, container in containers([owner]):
            read_only = container["securityContext"]["readOnlyRootFilesystem"]
            assert read_only or container["name"] in excused, name


def test_no_pod_gets_a_token_of_the_cluster(manifests: list[Manifest]) -> None:
    """None of them talks to the Kubernetes API."""
    for name, pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False, name


def test_containers_ask_for_what_they_need(manifests: list[Manifest]) -> None:
    """CPU and memory are requested and memory is limited; CPU is not, as throttling shows as latency."""
    for name, container in containers(manifests):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), name
        assert "memory" in resources["limits"], name
        assert "cpu" not in resources["limits"], name


def test_the_gateways_memory_holds_what_it_may_have_in_hand(manifests: list[Manifest]) -> None:
    """Three times of it, as bytes, tensors and batches, beside the process's 250 MB, the README's bound."""
    found = gateway(manifests)
    assert found
    limit = found.container["resources"]["limits"]["memory"]
    units = {"Mi": 2**20, "Gi": 2**30}
    assert 3 * found.config.max_inflight_bytes + 250 * 10**6 < int(limit[:-2]) * units[limit[-2:]]


def test_what_lasts_has_its_priority(manifests: list[Manifest]) -> None:
    """Gateways are the last to give way, workers come before what names no class."""
    values = {one["metadata"]["name"]: one["value"] for one in of_kind(manifests, "PriorityClass")}
    for name, pod in lasting_pods(manifests):
        assert pod["spec"]["priorityClassName"] == f"attnserve-{pod['metadata']['labels'][NAME]}", name
    assert values["attnserve-gateway"] > values["attnserve-worker"] > 0


def test_containers_have_all_three_probes(manifests: list[Manifest]) -> None:
    """Without a start-up probe a slow start is killed; without readiness a cold pod gets traffic."""
    for name, pod in lasting_pods(manifests):
        for container in pod["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name


def test_a_variant_without_workers_stops_no_gateway(manifests: list[Manifest]) -> None:
    """A gateway lives by itself, and is sent calls as long as one model, whichever, can answer."""
    pod = dict(pods(manifests))["gateway"]
    (container,) = pod["spec"]["containers"]
    if "httpGet" in container["readinessProbe"]:
        paths = [
            container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
        ]
        assert paths == ["/v2/health/live", "/v2/health/live", "/v2/health/any-model"]
        return
    asked = {
        kind: container[f"{kind}Probe"]["grpc"]["service"] for kind in ("startup", "liveness", "readiness")
    }
    assert asked == {"startup": PROCESS, "liveness": PROCESS, "readiness": ANY_MODEL}


def test_a_leaving_gateway_answers_what_it_has(manifests: list[Manifest]) -> None:
    """No call lasts longer than the drain waits for answers, and the grace is longer than pause and drain."""
    found = gateway(manifests)
    assert found
    pause_s, grace_s = leaving(dict(pods(manifests))["gateway"])
    config = found.config
    assert config.attempts.attempt_timeout_s <= config.request_timeout_s
    assert config.request_timeout_s <= config.drain_timeout_s * (1 - CLOSING_SHARE)
    assert pause_s + config.drain_timeout_s < grace_s


def test_callers_have_left_a_leaving_gateway(manifests: list[Manifest]) -> None:
    """Their connections end by age, which gRPC varies by a tenth, during preStop, after DNS has changed."""
    found = gateway(manifests)
    assert found
    pause_s, _ = leaving(dict(pods(manifests))["gateway"])
    assert pause_s > 1.1 * found.config.max_connection_age_s + SHORT_DNS_LIFE_S


def test_a_leaving_worker_answers_what_it_has(manifests: list[Manifest]) -> None:
    """It stays until every gateway has heard of it, whatever DNS keeps, and then for the longest attempt."""
    found = gateway(manifests)
    assert found
    attempts = found.config.attempts
    for name, pod in lasting_pods(manifests):
        if name != "gateway":
            pause_s, grace_s = leaving(pod)
            assert pause_s > DNS_LIFE_S + attempts.resolve_interval_s, name
            assert pause_s + attempts.attempt_timeout_s < grace_s, name


def test_only_the_gateway_reaches_the_workers(manifests: list[Manifest]) -> None:
    """TorchServe asks for no token in a pod; its policy admits the gateway to one port and nothing else."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    workers = {"matchLabels": {NAME: "worker"}}
    assert policies["worker"] == {
        "podSelector": workers,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": {NAME: "gateway"}}}], "ports": [{"port": 7070}]}
        ],
        "egress": [],
    }
    others = [policies[name] for name in policies.keys() - {"worker", "default-deny"}]
    assert not any("ingress" in policy for policy in others if policy["podSelector"] == workers)


def test_the_namespace_enforces_the_restricted_standard(manifests: list[Manifest]) -> None:
    """A later pod that is less restricted is refused by the cluster; all that can be is in the namespace."""
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    outside = {manifest["kind"] for manifest in manifests if "namespace" not in manifest["metadata"]}
    assert outside == {"Namespace", "PriorityClass"}
    inside = {manifest["metadata"].get("namespace") for manifest in manifests} - {None}
    assert inside == {namespace["metadata"]["name"]}


def test_every_object_says_what_it_belongs_to(manifests: list[Manifest]) -> None:
    """One label finds all of it, generated objects too."""
    for manifest in manifests:
        labels = manifest["metadata"].get("labels", {})
        assert labels.get("app.kubernetes.io/part-of") == "attnserve", manifest["metadata"]["name"]


def test_the_load_test_reaches_the_gateway_and_is_reached_by_nobody_else() -> None:
    """Its policy admits workers to the master, and lets both out to the doors that the gateway has."""
    manifests = build_with(DEPLOY / "overlays" / "dev-cpu", DEPLOY / "components" / "loadtest")
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    made = dict(pods(manifests))
    doors = {port["name"] for port in made["gateway"]["spec"]["containers"][0]["ports"]}
    to_gateway, master, _dns = policies["loadtest"]["egress"]
    assert to_gateway["to"] == [{"podSelector": {"matchLabels": {NAME: "gateway"}}}]
    assert {port["port"] for port in to_gateway["ports"]} == doors
    assert master["to"] == [{"podSelector": {"matchLabels": {NAME: "loadtest-master"}}}]
    assert policies["loadtest"]["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {NAME: "loadtest-worker"}}}],
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
