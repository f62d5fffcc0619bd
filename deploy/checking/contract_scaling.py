"""Autoscaling: one scaler a Deployment, whose replicas it alone sets, and never below one."""

from collections.abc import Iterator, Mapping, Sequence

from deploy.checking.kustomize import Manifest
from deploy.checking.objects import named, of_kind, title

# Of each kind of scaler the fields of fewest and most replicas, and what the fewest are where it is not set.
_BOUNDS: Mapping[str, tuple[str, str, int]] = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas", 1),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount", 0),
}


def several_scalers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """What two scalers pull to and fro; KEDA makes an HPA of its own."""
    scalers: dict[str, list[str]] = {}
    for scaler in of_kind(manifests, *_BOUNDS):
        scalers.setdefault(_target(scaler), []).append(title(scaler))
    for target, names in scalers.items():
        if len(names) > 1:
            yield f"{' and '.join(names)} both scale {target}: keep one of them"


def scalers_without_target(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Scalers of what is not there."""
    for scaler in of_kind(manifests, *_BOUNDS):
        if _scaled(scaler, manifests) is None:
            yield (
                f"{title(scaler)} scales {_target(scaler)}, which is not there: take in what it scales, "
                "or drop it"
            )


def bounds(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Scalers that may leave no replica, or whose most is below their fewest."""
    for scaler in of_kind(manifests, *_BOUNDS):
        fewest, most, default = _BOUNDS[scaler["kind"]]
        least = scaler["spec"].get(fewest, default)
        if least < 1 or scaler["spec"].get("idleReplicaCount") == 0:
            yield (
                f"{title(scaler)} may leave {_target(scaler)} without a replica, and a call would wait for "
                f"minutes: set {fewest} to 1 or more, and no idleReplicaCount"
            )
        if scaler["spec"].get(most, least) < least:
            yield f"{title(scaler)}: {most} is below {fewest}, {least}: raise it"


def fixed_replicas(manifests: Sequence[Manifest]) -> Iterator[str]:
    """What is scaled and has a number of replicas as well, to which each apply would set it back."""
    for scaler in of_kind(manifests, *_BOUNDS):
        target = _scaled(scaler, manifests)
        if target and "replicas" in target["spec"]:
            yield (
                f"{title(target)} sets replicas: {target['spec']['replicas']}, to which each apply would set "
                f"back what {title(scaler)} has scaled: remove the field where the scaler is added"
            )


def absent_series(manifests: Sequence[Manifest]) -> Iterator[str]:
    """KEDA's triggers that take an absent series for zero load, or give up when Prometheus is away."""
    for scaler in of_kind(manifests, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] == "prometheus" and trigger["metadata"].get("ignoreNullValues") != "false":
                yield (
                    f"{title(scaler)}: a trigger takes an absent series for zero load: "
                    'set ignoreNullValues: "false"'
                )
        if "fallback" not in scaler["spec"]:
            yield f"{title(scaler)} has no fallback for when Prometheus does not answer: set one"


def _scaled(scaler: Manifest, manifests: Sequence[Manifest]) -> Manifest | None:
    kind, _, name = _target(scaler).partition("/")
    return named(manifests, kind, name)


def _target(scaler: Manifest) -> str:
    reference = scaler["spec"]["scaleTargetRef"]
    return f"{reference.get('kind', 'Deployment')}/{reference['name']}"
