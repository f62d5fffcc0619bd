"""The arithmetic of a HorizontalPodAutoscaler is Kubernetes' own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.hpa import Autoscaler, average_value, most, pods, value
from tests.fleet.hpa_object import Behaviour, Policy, Rules, Spec, Tolerance, quantity

USUAL = Tolerance()
QUICK_DOWN = Rules(window_s=0, policies=(Policy(kind="Percent", value=100, period_s=15),))


def down_by(*policies: Policy, select: str = "Max") -> Behaviour:
    """Take pods away by these policies, at once."""
    return Behaviour(down=Rules(window_s=0, policies=policies, select=select))


def up_by(*policies: Policy, select: str = "Max") -> Behaviour:
    """Add pods by these policies."""
    return Behaviour(up=Rules(window_s=0, policies=policies, select=select))


def scaler(behaviour: Behaviour, least: int = 1, highest: int = 1000) -> Autoscaler:
    """An autoscaler that has looked at nothing yet."""
    return Autoscaler(Spec(min_replicas=least, max_replicas=highest, behaviour=behaviour))


# Kubernetes documentation, "Algorithm details": 200m of 100m doubles, 50m of 100m halves, and a ratio within
# 0.1 of 1 changes nothing. "HorizontalPodAutoscaler Walkthrough": 305 % of 50 % makes seven of one.
@pytest.mark.parametrize(
    ("each", "target", "current", "wanted"),
    [(0.2, 0.1, 3, 6), (0.05, 0.1, 4, 2), (0.11, 0.1, 5, 5), (0.09, 0.1, 5, 5), (3.05, 0.5, 1, 7)],
)
def test_the_examples_of_the_documentation(each: float, target: float, current: int, wanted: int) -> None:
    """They come out alike whether the metric is the pods' own, a sum for all pods, or one value."""
    names = [f"pod-{number}" for number in range(current)]
    assert pods(dict.fromkeys(names, each), target, names, (), USUAL) == wanted
    assert average_value(each * current, target, current, USUAL) == wanted
    assert value(each, target, current, current, USUAL) == wanted


# Worked out by hand from the rules of Kubernetes' replica_calculator.go; each line says how.
@pytest.mark.parametrize(
    ("known", "missing", "pending", "wanted"),
    [
        ((1.0, 1.0), 0, 0, 2),  # all is right
        ((2.0, 2.0), 1, 0, 4),  # (2 + 2 + 0) / 3 pods is 1.33 of the target, times 3 pods
        ((0.1, 0.1), 1, 0, 2),  # (0.1 + 0.1 + 1) / 3 is 0.4, times 3
        ((2.0,), 0, 1, 2),  # the pending one will halve it: nothing to do
        ((4.0,), 0, 1, 4),  # ... and here it will not
        ((0.5,), 0, 1, 1),  # a pending pod does not hold up those that go
        ((1.2,), 1, 1, 3),  # would rise, but not with two that help: the direction would change
        ((), 2, 0, None),
    ],
)
def test_pods_without_the_metric(
    known: tuple[float, ...], missing: int, pending: int, wanted: int | None
) -> None:
    """They count so that the step gets smaller, whichever way it goes."""
    metric = {f"known-{number}": each for number, each in enumerate(known)}
    waiting = [f"pending-{number}" for number in range(pending)]
    names = [*metric, *(f"missing-{number}" for number in range(missing)), *waiting]
    assert pods(metric, 1.0, names, waiting, USUAL) == wanted


@pytest.mark.parametrize(
    ("proposals", "current", "wanted"),
    [((3, 5, 2), 4, 5), ((3, None), 4, None), ((6, None), 4, 6), ((None, None), 4, None), ((4, None), 4, 4)],
)
def test_the_most_that_a_metric_asks_for(
    proposals: tuple[int | None, ...], current: int, wanted: int | None
) -> None:
    """While one of them cannot be read, the others add pods and take none away."""
    assert most(proposals, current) == wanted


# Kubernetes documentation, "Scaling policies": 80 replicas that are to become 10, 4 pods or 10 % a minute.
def test_the_example_of_policies() -> None:
    """Eight at first, then a tenth rounded up, and from 40 on four at a time."""
    policies = (Policy(kind="Pods", value=4, period_s=60), Policy(kind="Percent", value=10, period_s=60))
    one, current, steps = scaler(down_by(*policies)), 80, []
    one.decide(-60, current, [current])
    for minute in range(20):
        current = one.decide(60 * minute, current, [10])
        steps.append(current)
    assert steps[:4] == [72, 64, 57, 51]
    assert [step for step in steps if step < 40][:3] == [36, 32, 28]
    assert steps[-1] == 10


# The rules are those of the Kubernetes documentation, "Scaling policies"; the arithmetic is by hand.
PODS_4, PODS_2 = (Policy(kind="Pods", value=number, period_s=60) for number in (4, 2))
HALF, FIFTH, TENTH = (Policy(kind="Percent", value=number, period_s=60) for number in (50, 20, 10))
PODS_15 = Policy(kind="Pods", value=15, period_s=60)


@pytest.mark.parametrize(
    ("behaviour", "current", "asked", "wanted"),
    [
        (up_by(PODS_4), 5, 99, 9),
        (up_by(PODS_4, select="Disabled"), 5, 99, 5),
        (up_by(PODS_4, PODS_2, select="Min"), 5, 99, 7),
        (up_by(HALF), 10, 99, 15),
        (up_by(Policy(kind="Percent", value=10, period_s=60)), 1, 99, 2),
        (down_by(FIFTH), 10, 1, 8),
        (down_by(TENTH, PODS_15), 100, 1, 85),
        (down_by(TENTH, PODS_15, select="Min"), 100, 1, 90),
        (down_by(FIFTH, select="Disabled"), 10, 1, 10),
    ],
)
def test_what_policies_allow(behaviour: Behaviour, current: int, asked: int, wanted: int) -> None:
    """The freest of them holds, unless it is said that the strictest does, or that none may."""
    one = scaler(behaviour)
    one.decide(-1, current, [current])
    assert one.decide(0, current, [asked]) == wanted


def test_a_period_counts_what_came_and_went_in_it() -> None:
    """Four pods a minute are four in any minute, not four at every look."""
    one = scaler(up_by(PODS_4))
    seen = [5]
    for now in (0, 15, 59, 60.5, 61):
        seen.append(one.decide(now, seen[-1], [99]))
    assert seen == [5, 9, 9, 9, 13, 13]


# Kubernetes documentation, "Stabilization window".
def test_what_was_asked_for_lately_holds_pods_back() -> None:
    """A window of five minutes keeps the most that was asked for in it; a first look keeps what there is."""
    one = scaler(Behaviour())
    assert one.decide(0, 4, [1]) == 4
    assert one.decide(200, 4, [6]) == 6
    assert one.decide(301, 6, [1]) == 6
    assert one.decide(499, 6, [2]) == 6
    assert one.decide(500.5, 6, [2]) == 2


def test_a_window_of_rising_takes_the_least() -> None:
    """A peak that is shorter than the window adds nothing."""
    rising = Rules(window_s=30, policies=(PODS_15,))
    one = scaler(Behaviour(up=rising))
    assert [one.decide(now, 2, [asked]) for now, asked in ((0, 8), (10, 8), (40, 8))] == [2, 2, 8]


@pytest.mark.parametrize(("current", "wanted"), [(0, 0), (1, 2), (9, 5)])
def test_outside_of_its_bounds(current: int, wanted: int) -> None:
    """It goes to the nearer bound, whatever is asked for; without a replica it is switched off."""
    one = scaler(Behaviour(), least=2, highest=5)
    assert one.decide(0, current, [None]) == wanted


MANIFEST: dict[str, Any] = {
    "spec": {
        "minReplicas": 2,
        "maxReplicas": 8,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": {"name": "length", "selector": {"matchLabels": {"queue": "a"}}},
                    "target": {"type": "AverageValue", "averageValue": "1500m"},
                },
            }
        ],
        "behavior": {
            "scaleDown": {
                "stabilizationWindowSeconds": 60,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
                "selectPolicy": "Min",
            }
        },
    }
}


def test_an_object_is_read() -> None:
    """What it says is taken, and where it says nothing, Kubernetes' defaults are."""
    spec = Spec.read(MANIFEST)
    (metric,) = spec.metrics
    assert (metric.name, metric.labels, metric.kind, metric.target) == (
        *("length", {"queue": "a"}),
        *("AverageValue", 1.5),
    )
    assert spec.behaviour.down.window_s == 60
    assert spec.behaviour.down.select == "Min"
    assert spec.behaviour.up == Behaviour().up
    assert spec.faster(10).behaviour.down.policies == (Policy(kind="Pods", value=1, period_s=3),)


def test_what_cannot_be_read_is_said() -> None:
    """A number with another unit, and a metric of another type."""
    with pytest.raises(ValueError, match="quantity is '3Gi'"):
        quantity("3Gi")
    with pytest.raises(ValueError, match="type is 'Resource'"):
        Spec.read({"spec": {"maxReplicas": 2, "metrics": [{"type": "Resource"}]}})


looks = st.lists(
    st.tuples(
        st.floats(0.5, 400),
        st.lists(st.none() | st.integers(0, 50), min_size=1, max_size=3),
    ),
    max_size=30,
)


@given(looks=looks, current=st.integers(2, 12))
def test_whatever_is_asked_for(looks: list[tuple[float, list[int | None]]], current: int) -> None:
    """The number keeps to its bounds, goes only where a metric points, and stays where none can be read."""
    one, now = scaler(Behaviour(), least=2, highest=12), 0.0
    for pause, proposals in looks:
        now += pause
        decided = one.decide(now, current, proposals)
        known = [proposal for proposal in proposals if proposal is not None]
        assert 2 <= decided <= 12
        if len(known) < len(proposals):
            assert decided >= current or max(known, default=0) >= current
        if not known:
            assert decided == current
        if decided > current:
            assert decided <= max(known)
        current = decided


@given(total=st.floats(0, 1e6), target=st.floats(0.01, 1e3), current=st.integers(1, 100))
def test_the_number_asked_for_is_enough(total: float, target: float, current: int) -> None:
    """Shared by so many, the metric is within the tolerance of its target; one fewer would not do."""
    wanted = average_value(total, target, current, USUAL)
    assert total <= wanted * target * (1 + USUAL.up) + 1e-6
    if wanted != current:
        assert (wanted - 1) * target <= total
    assert math.isfinite(wanted)
