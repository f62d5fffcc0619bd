"""Looking things up among built objects: pods, containers, ports, selectors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.checking.kustomize import Manifest

# The label that tells what a pod is: gateway, worker, ...
NAME = "app.kubernetes.io/name"

_LASTING = ("Deployment", "StatefulSet", "DaemonSet")
_WITH_PODS = (*_LASTING, "Job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pods that an object makes.

    Attributes:
        owner: The Deployment, Job, ... that makes them.
        labels: What selectors see.
        spec: The pod's specification.
    """

    owner: Manifest
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its owner's kind and name."""
        return title(self.owner)

    @property
    def lasting(self) -> bool:
        """Whether such pods are there all the time, unlike those of a Job."""
        return self.owner["kind"] in _LASTING

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """All its containers, those of initialisation first."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def ports(self) -> Mapping[str, int]:
        """Name -> number of the ports that its containers declare; one without a name goes by its number."""
        declared = [port for container in self.containers for port in container.get("ports", ())]
        return {port.get("name", str(port["containerPort"])): port["containerPort"] for port in declared}

    def has_port(self, port: int | str) -> bool:
        """Whether it declares a port of this name or number."""
        return port in self.ports if isinstance(port, str) else port in self.ports.values()


def title(manifest: Manifest) -> str:
    """Kind and name, as kubectl writes them."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> Iterator[Manifest]:
    """The objects of these kinds."""
    return (manifest for manifest in manifests if manifest["kind"] in kinds)


def named(manifests: Iterable[Manifest], kind: str, name: str | None) -> Manifest | None:
    """The object of that kind and name, if it is there."""
    found = (manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name)
    return next(found, None)


def pods(manifests: Iterable[Manifest]) -> list[Pod]:
    """The pods of every object that makes some."""
    found = []
    for owner in of_kind(manifests, *_WITH_PODS, "CronJob"):
        made_by = owner["spec"]["jobTemplate"] if owner["kind"] == "CronJob" else owner
        template = made_by["spec"]["template"]
        labels = template.get("metadata", {}).get("labels", {})
        found.append(Pod(owner=owner, labels=labels, spec=template["spec"]))
    return found


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector with matchLabels and matchExpressions matches; an empty one always does."""
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def selected(manifests: Iterable[Manifest], selector: Mapping[str, Any]) -> list[Pod]:
    """The pods that a label selector matches."""
    return [pod for pod in pods(manifests) if selects(selector, pod.labels)]


def behind(manifests: Iterable[Manifest], service: Manifest) -> list[Pod]:
    """The pods that a Service leads to; none where it has no selector."""
    selector = service["spec"].get("selector")
    return selected(manifests, {"matchLabels": selector}) if selector else []


def name_in_cluster(host: str) -> str:
    """The Service that a host name means: worker-se, of worker-se.attnserve.svc.cluster.local."""
    return host.partition(".")[0]


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    rules = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return rules[expression["operator"]]
