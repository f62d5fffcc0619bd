"""What names a worker's models agrees with it: the list of sums, and the signals of its scaler."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.checking.contract_engines import archive_of, archives_of
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import named, of_kind, pods, title

_SUMS = "SHA256SUMS"
# As a trigger's PromQL names a model.
_MODEL = re.compile(r'\bmodel="([^"]+)"')


def archives_without_sum(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Archives that a worker fetches without a sum in its list; its init container would refuse them."""
    for pod in pods(manifests):
        for volume in pod.spec.get("volumes", ()):
            listed = named(manifests, "ConfigMap", volume.get("configMap", {}).get("name"))
            if listed is None or _SUMS not in listed.get("data", {}):
                continue
            for archive in sorted(archives_of(pod) - set(listed["data"][_SUMS].split())):
                yield (
                    f"{pod.title} fetches {archive}, of which {title(listed)} has no sum: add its line to "
                    f"the overlay's {_SUMS}; `sha256sum` writes it"
                )


def signals_of_others(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Scalers of workers that follow a model which these do not serve: no load would ever move them."""
    workers = {pod.title: pod for pod in pods(manifests) if archives_of(pod)}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        reference = scaler["spec"]["scaleTargetRef"]
        worker = workers.get(f"{reference.get('kind', 'Deployment')}/{reference['name']}")
        if worker is None:
            continue
        for model in sorted(_followed(scaler["spec"])):
            if archive_of(model) not in archives_of(worker):
                yield (
                    f"{title(scaler)} follows the load of model {model}, which {worker.title} does not "
                    "fetch: name the model that it serves; "
                    "`python -m loadtests.capacity` writes the file for it"
                )


def _followed(spec: Mapping[str, Any]) -> set[str]:
    """The models that a scaler's metrics, or its triggers' queries, name."""
    external = [one["external"]["metric"] for one in spec.get("metrics", ()) if one["type"] == "External"]
    labels = [metric.get("selector", {}).get("matchLabels", {}) for metric in external]
    queries = [trigger["metadata"].get("query", "") for trigger in spec.get("triggers", ())]
    return {of["model"] for of in labels if "model" in of} | set(_MODEL.findall("\n".join(queries)))
