"""At how many requests in hand for each worker to add another one, for Kubernetes' HPA and for KEDA.

By Little's law the mean number of requests in the gateway is the rate of the seconds that they spend there,
which Prometheus has as the sum of a histogram: unlike a gauge that is read now and then it misses nothing,
and unlike the use of a CPU or a GPU it grows with the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from loadtests.capacity.fitted import Fitted
from loadtests.capacity.knee import Knee
from loadtests.capacity.queue import simulate

HEADROOM: Final = 0.7  # of the lowest knee: until another replica is ready, the others carry the growth
METRIC: Final = "attnserve_concurrency"
DEPLOYMENT: Final = "worker"
_SERVER: Final = "http://prometheus-operated.monitoring.svc:9090"
_MOST: Final = 10  # replicas, where no target says how many it takes
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
class Target:
    """What an autoscaler is told.

    Attributes:
        model: Whose requests count.
        concurrency: Requests in the gateway for each worker, on average, at which it should be so many.
        rate: Requests a second of each worker at that point.
        replicas: As many workers as the target rate needs; without one as many as were measured.
        most: Never more replicas than that.
    """

    model: str
    concurrency: float
    rate: float
    replicas: int
    most: int

    @property
    def query(self) -> str:
        """PromQL: requests of the model in all gateways, on average over a minute."""
        return f'sum(rate(attnserve_request_duration_seconds_sum{{model="{self.model}"}}[1m]))'

    def hpa(self) -> dict[str, Any]:
        """For a cluster whose metrics adapter serves `query` as `METRIC`, with the label model."""
        metric = {"name": METRIC, "selector": {"matchLabels": {"model": self.model}}}
        target = {"type": "AverageValue", "averageValue": f"{round(1e3 * self.concurrency)}m"}
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": DEPLOYMENT},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT},
                "minReplicas": 1,
                "maxReplicas": self.most,
                "metrics": [{"type": "External", "external": {"metric": metric, "target": target}}],
                "behavior": _BEHAVIOR,
            },
        }

    def keda(self) -> dict[str, Any]:
        """For a cluster with KEDA; no answer of Prometheus is no reason to scale down."""
        metadata = {
            "serverAddress": _SERVER,
            "query": self.query,
            "threshold": f"{self.concurrency:.3f}",
            "ignoreNullValues": "false",
        }
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": DEPLOYMENT},
            "spec": {
                "scaleTargetRef": {"name": DEPLOYMENT},
                "minReplicaCount": 1,
                "maxReplicaCount": self.most,
                "fallback": {
                    "failureThreshold": 3,
                    "replicas": self.replicas,
                    "behavior": "currentReplicasIfHigher",
                },
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _BEHAVIOR}},
                "triggers": [{"type": "prometheus", "metricType": "AverageValue", "metadata": metadata}],
            },
        }

    def as_json(self) -> dict[str, Any]:
        """For a document; the manifests are YAML."""
        return {
            "metric": METRIC,
            "query": self.query,
            "concurrency": self.concurrency,
            "rate": self.rate,
            "headroom": HEADROOM,
            "hpa": _yaml(self.hpa()),
            "keda": _yaml(self.keda()),
        }


def target(model: Fitted, found: Knee, replicas: int | None) -> Target | None:
    """What to tell an autoscaler; None where there is no knee to keep away from.

    Args:
        model: The queue.
        found: Its knee.
        replicas: As many of what was measured as the target rate needs; None without one.
    """
    if found.lowest is None:
        return None
    rate = HEADROOM * found.lowest
    workers = model.batching.workers  # what was measured is so many, and a manifest scales single ones
    needed = workers * (replicas or 1)
    return Target(
        model=model.model,
        concurrency=simulate(model.service, model.batching, rate).concurrency / workers,
        rate=rate / workers,
        replicas=needed,
        most=max(_MOST, 2 * needed),
    )


def _yaml(manifest: dict[str, Any]) -> str:
    return _Plain.dump(manifest)


class _Plain(yaml.SafeDumper):
    """Says everything where it stands, without references to what was said before."""

    def ignore_aliases(self, data: object) -> bool:
        """Always."""
        del data
        return True

    @classmethod
    def dump(cls, manifest: dict[str, Any]) -> str:
        """As YAML, in the order given."""
        return str(yaml.dump(manifest, Dumper=cls, sort_keys=False))
