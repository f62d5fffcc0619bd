"""A HorizontalPodAutoscaler object of autoscaling/v2, as far as its arithmetic goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# Kubernetes' own defaults, where the object says nothing.
TOLERANCE = 0.1
# Kubernetes counts in thousandths, as integers.
ROUNDING = 1e-9
_MAX, _POLICIES = "Max", "policies"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|)")
_SUFFIX = {"m": 1e-3, "": 1.0, "k": 1e3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far from 1 a ratio may be that changes nothing."""

    up: float = TOLERANCE
    down: float = TOLERANCE

    def holds(self, ratio: float) -> bool:
        """Whether a ratio of metric to target changes nothing."""
        return 1 - self.down - ROUNDING <= ratio <= 1 + self.up + ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many may come or go in a period: `Pods`, or `Percent` of those at its beginning."""

    kind: str
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of one direction; `select` is Max, Min or Disabled."""

    window_s: float
    policies: tuple[Policy, ...]
    select: str = _MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Of both directions; the defaults are those of Kubernetes."""

    up: Rules = Rules(
        window_s=0,
        policies=(
            Policy(kind="Percent", value=100, period_s=15),
            Policy(kind="Pods", value=4, period_s=15),
        ),
    )
    down: Rules = Rules(window_s=300, policies=(Policy(kind="Percent", value=100, period_s=15),))


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A metric from outside the cluster's own; `kind` is AverageValue or Value."""

    name: str
    labels: Mapping[str, str]
    kind: str
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the object asks for.

    Attributes:
        min_replicas: Least number.
        max_replicas: Highest number.
        metrics: In their order.
        behaviour: How fast.
        tolerance: Of both directions.
    """

    min_replicas: int
    max_replicas: int
    metrics: tuple[External, ...] = ()
    behaviour: Behaviour = Behaviour()
    tolerance: Tolerance = Tolerance()

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Spec:
        """Read an object whose metrics are all external.

        Raises:
            ValueError: A metric is of another type, or a quantity is none.
        """
        spec = manifest["spec"]
        given: Mapping[str, Any] = spec.get("behavior", {})
        usual = Behaviour()
        up, down = given.get("scaleUp", {}), given.get("scaleDown", {})
        return cls(
            min_replicas=spec.get("minReplicas", 1),
            max_replicas=spec["maxReplicas"],
            metrics=tuple(map(_external, spec["metrics"])),
            behaviour=Behaviour(up=_rules(up, usual.up), down=_rules(down, usual.down)),
            tolerance=Tolerance(
                up=quantity(up.get("tolerance", TOLERANCE)), down=quantity(down.get("tolerance", TOLERANCE))
            ),
        )

    def faster(self, times: float) -> Spec:
        """The same with all windows and periods so many times shorter, for a test that has not all day."""
        up, down = self.behaviour.up, self.behaviour.down
        return replace(self, behaviour=Behaviour(up=_faster(up, times), down=_faster(down, times)))


def quantity(text: object) -> float:
    """A number as Kubernetes writes it: 2, "1.5", "500m".

    Raises:
        ValueError: It is none of these.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"quantity is {text!r}, not a number, perhaps with m or k after it")
    return float(match[1]) * _SUFFIX[match[2]]


def _external(metric: Mapping[str, Any]) -> External:
    if metric["type"] != "External":
        raise ValueError(f"type is {metric['type']!r}: of metrics only External can be read here")
    given = metric["external"]
    kind = given["target"]["type"]
    return External(
        name=given["metric"]["name"],
        labels=given["metric"].get("selector", {}).get("matchLabels", {}),
        kind=kind,
        target=quantity(given["target"][kind[0].lower() + kind[1:]]),
    )


def _rules(given: Mapping[str, Any], usual: Rules) -> Rules:
    policies = tuple(
        Policy(kind=one["type"], value=one["value"], period_s=one["periodSeconds"])
        for one in given.get(_POLICIES, ())
    )
    return Rules(
        window_s=given.get("stabilizationWindowSeconds", usual.window_s),
        policies=policies or usual.policies,
        select=given.get("selectPolicy", _MAX),
    )


def _faster(rules: Rules, times: float) -> Rules:
    policies = tuple(replace(one, period_s=one.period_s / times) for one in rules.policies)
    return replace(rules, window_s=rules.window_s / times, policies=policies)
