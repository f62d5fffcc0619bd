"""Ports: probes, Services, routes, monitors and network policies mean ports that are there.

Those of the gateway are what it reads from its configuration, defaults included; those of a worker are what
TorchServe reads from config.properties.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.checking.gateway import gateway, main_container, mounted_file, workers
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import Pod, behind, of_kind, pods, title

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
# Where the pod finds TorchServe's configuration, and the port in it that gateways call.
WORKER_PROPERTIES = "/etc/torchserve/config.properties"
_WORKER_PORT = "grpc_inference_port"
# The name under which grpc.health.v1 tells that the gateway's process runs, whatever its models do.
_PROCESS = "gateway"


def gateway_ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    """The gateway's container and Service have the ports that its configuration opens."""
    found = gateway(manifests)
    if found is None:
        return
    wanted = {name: getattr(found.config, f"{name}_port") for name in ("http", "grpc", "metrics")}
    for name, number in wanted.items():
        if found.pod.ports.get(name) != number:
            yield (
                f"{found.pod.title}: containerPort {name} is {found.pod.ports.get(name)}, and the gateway's "
                f"configuration says {name}_port: {number}: make them one"
            )
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"] if found.pod in behind(manifests, service) else ():
            if wanted.get(port.get("name")) not in (None, port["port"]):
                yield (
                    f"{title(service)}: port {port['name']} is {port['port']}, and callers know the "
                    f"gateway's {wanted[port['name']]}: make them one"
                )


def gateway_probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """The gateway's probes ask its health service, and only readiness asks for its models."""
    found = gateway(manifests)
    if found is None:
        return
    for kind in PROBES:
        probe = main_container(found.pod).get(kind)
        says = f"{found.pod.title}: {kind}"
        if probe is None:
            yield f"{says} is missing: ask the gRPC health service"
        elif "grpc" in probe and kind != "readinessProbe" and probe["grpc"].get("service") != _PROCESS:
            yield (
                f"{says} asks for models, and a lost worker would restart every gateway: "
                f"set service: {_PROCESS}"
            )


def worker_ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A worker's container has the port that TorchServe opens for the gateway."""
    for pod in workers(manifests):
        text = mounted_file(pod, WORKER_PROPERTIES, manifests)
        if text is None:
            yield f"{pod.title}: no ConfigMap brings {WORKER_PROPERTIES}: mount one"
            continue
        number = properties(text).get(_WORKER_PORT)
        if str(pod.ports.get("grpc")) != number:
            yield (
                f"{pod.title}: containerPort grpc is {pod.ports.get('grpc')}, and config.properties says "
                f"{_WORKER_PORT}={number}: make them one"
            )


def worker_probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A worker is asked from inside: TorchServe has no gRPC health service, and its REST is on loopback."""
    for pod in workers(manifests):
        for kind in PROBES:
            probe = main_container(pod).get(kind)
            if probe is None or "exec" not in probe:
                yield (
                    f"{pod.title}: {kind} must run worker_probe.py (exec): TorchServe has no gRPC health "
                    "service, and its REST ports are on loopback"
                )


def probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Probes ask ports that their containers declare."""
    for pod in pods(manifests):
        for container in pod.containers:
            for kind in PROBES:
                for port in _ports_of_probe(container.get(kind, {})):
                    if not pod.has_port(port):
                        yield _no_port(f"{pod.title}: {kind} of container {container['name']}", port, pod)


def services(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Services select pods, and lead to ports that those declare."""
    for service in of_kind(manifests, "Service"):
        if "selector" not in service["spec"]:
            continue
        found = behind(manifests, service)
        if not found:
            yield f"{title(service)} selects no pod: mend its selector, or take in what it leads to"
        for pod in found:
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                if not pod.has_port(target):
                    yield _no_port(title(service), target, pod)


def _ports_of_probe(probe: Mapping[str, Any]) -> Iterator[int | str]:
    return (probe[way]["port"] for way in ("grpc", "httpGet", "tcpSocket") if way in probe)


def _no_port(who: str, port: int | str, pod: Pod) -> str:
    declared = ", ".join(pod.ports) or "none"
    return f"{who} means port {port}, which {pod.title} does not declare: use one of {declared}"


def properties(text: str) -> dict[str, str]:
    """Name -> value of a Java properties file."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}
