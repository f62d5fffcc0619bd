"""What Kubernetes is told of a target: a HorizontalPodAutoscaler, or a ScaledObject of KEDA.

They are the files worker-hpa.yaml and worker-scaledobject.yaml in deploy/variants. Both scale on the mean
number of requests in hand, and guard themselves with the mean time in the queue, in case that number was
fitted on quicker workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final, TypeAlias

import yaml

from loadtests.capacity.autoscaling import (
    CONCURRENCY,
    HEADROOM,
    QUEUE_SECONDS,
    Target,
    concurrency_query,
    queue_query,
)
from loadtests.capacity.service import CapacityError

Manifest: TypeAlias = dict[str, Any]

NAMESPACE: Final = "attnserve"
PROMETHEUS: Final = "http://prometheus-operated.monitoring.svc:9090"
_WIDTH: Final = 80  # of lines
_BEHAVIOR: Final = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 2, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """What is scaled.

    Attributes:
        variant: Of the Deployment worker-VARIANT.
        models: All that its workers answer.
        least: Never fewer replicas than that, at least 1: a model without workers answers nobody.
    """

    variant: str
    models: tuple[str, ...]
    least: int = 1

    def __post_init__(self) -> None:
        """Refuse what scales nothing, or to nothing."""
        if self.least < 1:
            raise CapacityError(
                f"min replicas is {self.least}, must be at least 1: a model without workers answers nobody"
            )
        if not self.models:
            raise CapacityError("models is empty, must name what the workers answer")

    @property
    def metadata(self) -> Manifest:
        """Name and labels of the object."""
        labels = {
            "app.kubernetes.io/name": "worker",
            "app.kubernetes.io/part-of": "attnserve",
            "attnserve.dev/variant": self.variant,
        }
        return {"name": self.deployment, "labels": labels}

    @property
    def deployment(self) -> str:
        """Its Deployment, and the name of the object that scales it."""
        return f"worker-{self.variant}"

    @property
    def selector(self) -> Manifest:
        """The series of its models, for Kubernetes."""
        if len(self.models) == 1:
            return {"matchLabels": {"model": self.models[0]}}
        return {"matchExpressions": [{"key": "model", "operator": "In", "values": list(self.models)}]}


def variant_of(model: str) -> str:
    """The name of a variant for a model alone; no name in Kubernetes has an underscore."""
    return model.lower().replace("_", "-")


def hpa(target: Target, scaled: Scaled) -> Manifest:
    """For a cluster whose metrics adapter has the rules of deploy/monitoring/adapter.

    A metric that is not there is an error of the HPA, which then leaves the replicas as they are.
    """
    concurrency = {"type": "AverageValue", "averageValue": _milli(target.concurrency)}
    queue = {"type": "Value", "value": _milli(target.queue_s)}
    metrics = ((CONCURRENCY, concurrency), (QUEUE_SECONDS, queue))
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": scaled.metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": scaled.deployment},
            "minReplicas": scaled.least,
            "maxReplicas": max(target.most, scaled.least),
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": name, "selector": scaled.selector}, "target": own},
                }
                for name, own in metrics
            ],
            "behavior": _BEHAVIOR,
        },
    }


def keda(target: Target, scaled: Scaled) -> Manifest:
    """For a cluster with KEDA; no answer of Prometheus is no reason to scale down."""
    concurrency = concurrency_query(scaled.models, namespace=NAMESPACE)
    queue = queue_query(scaled.models, namespace=NAMESPACE)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": scaled.metadata,
        "spec": {
            "scaleTargetRef": {"name": scaled.deployment},
            "pollingInterval": 15,
            "minReplicaCount": scaled.least,
            "maxReplicaCount": max(target.most, scaled.least),
            "fallback": {
                "failureThreshold": 3,
                "replicas": max(target.replicas, scaled.least),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _BEHAVIOR}},
            "triggers": [
                _trigger("concurrency", "AverageValue", concurrency, target.concurrency),
                _trigger("queue", "Value", queue, target.queue_s),
            ],
        },
    }


KINDS: Final[Mapping[str, Callable[[Target, Scaled], Manifest]]] = {"hpa": hpa, "keda": keda}


def text_of(kind: str, target: Target, scaled: Scaled, doubts: Sequence[str] = ()) -> str:
    """A whole file, YAML, which says what its numbers stand for.

    Args:
        kind: Of `KINDS`.
        target: The numbers.
        scaled: What is scaled.
        doubts: Why not to believe the numbers.
    """
    models = " ".join(f"--model {model}" for model in scaled.models)
    lines = (
        f"Targets of a worker that answers {target.rate:.3g} requests a second, {HEADROOM:.0%} of what it",
        f"can with 99 % within {target.p99_ms:g} ms; at the guard's queue time that breaks. Written by",
        f"  python -m loadtests.capacity REPORT --manifest {kind} --variant {scaled.variant}",
        f"    {models} --min-replicas {scaled.least}",
    )
    warning = wrap(f"Do not plan with it: {' '.join(doubts)}", _WIDTH) if doubts else ()
    comment = "".join(f"# {line}\n" for line in (*lines, *warning))
    return comment + yaml.dump(KINDS[kind](target, scaled), Dumper=_Plain, sort_keys=False, width=_WIDTH)


def _milli(number: float) -> str:
    return f"{round(1e3 * number)}m"


def _trigger(name: str, kind: str, query: str, threshold: float) -> Manifest:
    """Without `ignoreNullValues: "false"` a series that is absent would be a 0."""
    metadata = {
        "serverAddress": PROMETHEUS,
        "query": "\n".join(wrap(query, _WIDTH, break_long_words=False, break_on_hyphens=False)),
        "threshold": f"{threshold:.3f}",
        "ignoreNullValues": "false",
    }
    return {"type": "prometheus", "name": name, "metricType": kind, "metadata": metadata}


class _Plain(yaml.SafeDumper):
    """Says everything where it stands, without references to what was said before, and lines as lines."""

    def ignore_aliases(self, data: object) -> bool:
        """Always."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  PyYAML's
        """Lists, too, stand further in than their key."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _lines(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _lines)
