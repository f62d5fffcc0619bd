"""Edges between pods: network policies, routes and monitors that lead to something."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.checking.kustomize import Manifest
from deploy.checking.objects import Pod, named, of_kind, pods, selected, selects, title

_ROUTES = ("HTTPRoute", "GRPCRoute")


def pods_without_policy(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Pods to which, or from which, everything may flow because no policy selects them."""
    for pod in pods(manifests):
        for direction in ("Ingress", "Egress"):
            if not any(
                direction in policy["spec"].get("policyTypes", ())
                and selects(policy["spec"]["podSelector"], pod.labels)
                for policy in of_kind(manifests, "NetworkPolicy")
            ):
                yield (
                    f"{pod.title}: no NetworkPolicy rules its {direction.lower()}: "
                    "add one that selects its pods"
                )


def policies_without_pods(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Policies that select nothing, as after a label was renamed."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        if not selected(manifests, policy["spec"]["podSelector"]):
            yield f"{title(policy)} selects no pod: mend its podSelector, or drop it"


def policies_without_ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Policies that open ports which the pods on the other side of the edge do not have."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        own = selected(manifests, policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ()):
            yield from _unknown(title(policy), rule, own)
        for rule in policy["spec"].get("egress", ()):
            peers = [peer for peer in rule.get("to", ()) if set(peer) == {"podSelector"}]
            reached = [pod for peer in peers for pod in selected(manifests, peer["podSelector"])]
            if peers and not reached:
                yield f"{title(policy)} lets out to pods that are not there: mend its selector, or drop it"
            yield from _unknown(title(policy), rule, reached)


def routes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Routes of the Gateway API whose Service, or its port, is not there."""
    for route in of_kind(manifests, *_ROUTES):
        for backend in (end for rule in route["spec"]["rules"] for end in rule.get("backendRefs", ())):
            service, name = named(manifests, "Service", backend["name"]), f"Service/{backend['name']}"
            if service is None:
                yield f"{title(route)} leads to {name}, which is not there: mend it"
            elif backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                yield f"{title(route)} leads to port {backend['port']}, which {name} has not: mend it"


def monitors(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Monitors of the Prometheus operator that find nothing to scrape."""
    for monitor in of_kind(manifests, "ServiceMonitor", "PodMonitor"):
        of_services = monitor["kind"] == "ServiceMonitor"
        found = _ports_of_services(monitor, manifests) if of_services else _ports_of_pods(monitor, manifests)
        if not found:
            yield f"{title(monitor)} selects nothing: mend its selector"
        ends = monitor["spec"]["endpoints" if of_services else "podMetricsEndpoints"]
        for port in (end["port"] for end in ends if "port" in end):
            if any(port not in ports for ports in found):
                yield f"{title(monitor)} scrapes port {port}, which not all that it selects have: mend it"


def _ports_of_services(monitor: Manifest, manifests: Sequence[Manifest]) -> list[set[str]]:
    selector = monitor["spec"]["selector"]
    return [
        {port.get("name", "") for port in service["spec"]["ports"]}
        for service in of_kind(manifests, "Service")
        if selects(selector, service["metadata"].get("labels", {}))
    ]


def _ports_of_pods(monitor: Manifest, manifests: Sequence[Manifest]) -> list[set[str]]:
    return [set(pod.ports) for pod in selected(manifests, monitor["spec"]["selector"])]


def _unknown(policy: str, rule: Mapping[str, Any], reached: Sequence[Pod]) -> Iterator[str]:
    for port in (port["port"] for port in rule.get("ports", ()) if "port" in port):
        if reached and not any(pod.has_port(port) for pod in reached):
            titles = ", ".join(pod.title for pod in reached)
            yield f"{policy} opens port {port}, which {titles} does not declare: mend the port"
