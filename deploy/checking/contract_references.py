"""What pods refer to is there: ConfigMaps, accounts, priority classes; Secrets only by reference."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.checking.by_reference import SECRETS
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import Pod, named, of_kind, pods, title

# What a cluster brings by itself.
_BUILT_IN = {("PriorityClass", "system-cluster-critical"), ("PriorityClass", "system-node-critical")}


def dangling(manifests: Sequence[Manifest]) -> Iterator[str]:
    """References to objects that are not built."""
    for pod in pods(manifests):
        for kind, name in sorted(set(_references(pod))):
            if (kind, name) not in _BUILT_IN and named(manifests, kind, name) is None:
                yield (f"{pod.title} refers to {kind}/{name}, which is not there: add it, or drop that")


def mounts_without_volume(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Mounts of volumes that their pod does not have; the API server refuses it."""
    for pod in pods(manifests):
        volumes = {volume["name"] for volume in pod.spec.get("volumes", ())}
        for container in pod.containers:
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield (
                        f"{pod.title}, container {container['name']} mounts volume {mount['name']}, which "
                        "the pod does not have: add it, or drop the mount"
                    )


def missing_keys(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Variables from a key that a ConfigMap does not have; the pod would not start."""
    for pod in pods(manifests):
        for source in _sources(pod, "configMapKeyRef"):
            found = named(manifests, "ConfigMap", source["name"])
            if found and source["key"] not in found.get("data", {}):
                yield f"{pod.title} takes {source['key']} from {title(found)}, which has no such key: add it"


def unknown_secrets(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Secrets, or keys of them, of which nobody was told to make them."""
    for pod in pods(manifests):
        for name, key in sorted(set(_secrets(pod))):
            if name not in SECRETS:
                yield (
                    f"{pod.title} refers to Secret/{name}, of which nobody is told: say what must be in it, "
                    "in deploy/checking/by_reference.py and deploy/README.md"
                )
            elif key and key not in SECRETS[name].keys:
                yield (
                    f"{pod.title} takes {key} from Secret/{name}, which holds "
                    f"{', '.join(SECRETS[name].keys)}: mend the key, or add it to "
                    "deploy/checking/by_reference.py"
                )


def secrets_by_value(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Secrets that stand in the repository."""
    for secret in of_kind(manifests, "Secret"):
        if secret.get("data") or secret.get("stringData"):
            yield (
                f"{title(secret)} holds its data here, for all to read: take it out, let whoever runs the "
                "cluster make it, and name it in deploy/checking/by_reference.py"
            )


def _references(pod: Pod) -> Iterator[tuple[str, str]]:
    """Kind and name of what must be built with the pod."""
    yield "ServiceAccount", pod.spec.get("serviceAccountName", "default")
    if "priorityClassName" in pod.spec:
        yield "PriorityClass", pod.spec["priorityClassName"]
    for volume in _volumes(pod):
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for kind in ("configMapKeyRef", "configMapRef"):
        for source in _sources(pod, kind):
            if not source.get("optional"):
                yield "ConfigMap", source["name"]


def _secrets(pod: Pod) -> Iterator[tuple[str, str]]:
    """Name of a Secret and a key that is taken from it, "" for all of them."""
    for volume in _volumes(pod):
        if "secret" in volume:
            source = volume["secret"]
            # A volume calls it secretName, a projected one name.
            name = source.get("secretName") or source["name"]
            yield from ((name, item["key"]) for item in source.get("items", ({"key": ""},)))
    yield from ((source["name"], source["key"]) for source in _sources(pod, "secretKeyRef"))
    yield from ((source["name"], "") for source in _sources(pod, "secretRef"))
    yield from ((source["name"], "") for source in pod.spec.get("imagePullSecrets", ()))


def _volumes(pod: Pod) -> Iterator[Mapping[str, Any]]:
    """The pod's volumes, and the sources of those that are put together of several."""
    for volume in pod.spec.get("volumes", ()):
        yield volume
        yield from volume.get("projected", {}).get("sources", ())


def _sources(pod: Pod, kind: str) -> Iterator[Mapping[str, Any]]:
    """What variables are taken from, of one kind."""
    for container in pod.containers:
        for variable in container.get("env", ()):
            if kind in variable.get("valueFrom", {}):
                yield variable["valueFrom"][kind]
        yield from (source[kind] for source in container.get("envFrom", ()) if kind in source)
