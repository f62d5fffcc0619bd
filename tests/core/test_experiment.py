"""Every rule of a design: what is refused, and that the message names the field, its value and the rule."""

from __future__ import annotations

import re
from typing import Any

import pytest

from serve.core.designs import design_of
from serve.core.errors import InvalidRequestError
from serve.core.experiment import Design, Mode
from tests.core.makings import a_design, arms_of, document

SHADOW: dict[str, Any] = {"mode": "shadow", "arms": arms_of(None, None)}
SLOW = {"metric": "slo_exceedance", "threshold_ms": 200}
ARM = {"name": "a", "model": "m", "version": "1"}
NAMED = {"unit": "tester", "arm": "b", "reason": "tries it"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    # weights
    ({"arms": arms_of(5000, 4999)}, "arms: the weights [5000, 4999] sum to 9999, must sum to 10000"),
    ({"arms": arms_of(5000, 5001)}, "arms: the weights [5000, 5001] sum to 10001, must sum to 10000"),
    ({"arms": arms_of(5000, None)}, "arms: ['b'] have no weight, in 1/10 000"),
    ({"arms": arms_of(-1, 10_001)}, "arms.0.weight: is -1."),
    ({"arms": [ARM | {"weight": 0.5}, ARM]}, "arms.0.weight: is 0.5."),
    ({**SHADOW, "arms": arms_of(5000, 5000)}, "arms: weights mean nothing in shadow mode"),
    # arms
    ({"arms": arms_of(10_000)}, "arms: is [{"),
    ({"arms": [*arms_of(*[1000] * 10), ARM]}, "at most 10 items"),
    ({"arms": [arms_of(5000)[0]] * 2}, "arms: the names ['a'] are given more than once"),
    ({"arms": [ARM | {"version": "latest"}, ARM]}, "arms.0.version: is 'latest'."),
    ({"arms": [{"name": "a"}, ARM]}, "arms.0.model: is missing; arms.0.version: is missing"),
    ({"arms": [ARM | {"wieght": 1}, ARM]}, "arms.0.wieght: is not known; did you mean weight?"),
    ({"arms": [ARM | {"labels": {"one": 1}}, ARM]}, "arms.0.labels.one: is 1."),
    # names
    ({"name": ""}, "name: is ''. String should match"),
    ({"name": "Digits"}, "name: is 'Digits'. String should match"),
    ({"name": "x" * 65}, "name: is 'xxx"),
    ({"alias": "test"}, "alias: is 'test', the experiment's own name"),
    ({"alias": "a b"}, "alias: is 'a b'. String should match"),
    ({"layer": "A"}, "layer: is 'A'. String should match"),
    # places
    ({"slots": [5000, 5000]}, "slots: [5000, 5000] hold nothing, the first must be below the second"),
    ({"slots": [0, 10_001]}, "slots.1: is 10001."),
    ({"slots": [0]}, "slots.1: is missing"),
    ({"ramp": 10_001}, "ramp: is 10001."),
    ({"ramp": -1}, "ramp: is -1."),
    ({"ramp": 0.5}, "ramp: is 0.5."),
    ({"holdout": 10_001}, "holdout: is 10001."),
    # overrides
    ({"overrides": [NAMED | {"arm": "c"}]}, "overrides: ['c'] are no arms; known: ['a', 'b']"),
    ({"overrides": [NAMED, NAMED]}, "overrides: the units ['tester'] are given more than once"),
    ({"overrides": [NAMED | {"reason": ""}]}, "overrides.0.reason: is ''."),
    ({"overrides": [NAMED | {"unit": "\ud800"}]}, "overrides.0.unit: is '\\ud800'."),
    ({**SHADOW, "overrides": [NAMED]}, "overrides: mean nothing in shadow mode"),
    # what a mode does not offer
    ({"mode": "bandit"}, "mode: is 'bandit'. Input should be 'split', 'shadow' or 'paired'"),
    ({"primary_metric": "agreement"}, "primary_metric: agreement needs both arms to see one image"),
    ({"keep_images": {}}, "keep_images: split mode finds no disagreements"),
    ({"sample": 5000}, "sample: means nothing in split mode; use ramp"),
    # statistics
    ({"primary_metric": "clicks"}, "primary_metric: is 'clicks'. Input should be 'accuracy',"),
    ({"mode": "paired", "primary_metric": "latency_p50"}, "primary_metric: latency_p50 needs split mode"),
    ({"alpha": 0}, "alpha: is 0."),
    ({"promote_when_better": True}, "promote_when_better: needs a guardrail on error_rate"),
    ({"alpha": 1}, "alpha: is 1."),
    ({"alpha": float("nan")}, "alpha: is nan."),
    ({"margin": 0}, "margin: is 0."),
    ({"pairs": "some"}, "pairs: is 'some'."),
    ({"planned_units": 99}, "planned_units: is 99."),
    ({"guardrails": [{"metric": "slo_exceedance"}]}, "guardrails.0: threshold_ms goes with slo_exceedance"),
    (
        {"guardrails": [SLOW | {"metric": "error_rate"}]},
        "guardrails.0: threshold_ms goes with slo_exceedance",
    ),
    ({"guardrails": [SLOW | {"max_ratio": 0.9}]}, "guardrails.0.max_ratio: is 0.9."),
    ({"guardrails": [SLOW | {"metric": "cost"}]}, "guardrails.0.metric: is 'cost'."),
    # keys
    ({"rampp": 1}, "rampp: is not known; did you mean ramp?"),
    ({"zzz": 1}, "zzz: is not known; known: name, description, mode,"),
    ({"constrained-str": 1}, "constrained-str: is not known"),
    ({"literal['']": 1}, "literal['']: is not known"),
    ({**SHADOW, "keep_images": {"day": 1}}, "keep_images.day: is not known; did you mean days?"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_a_broken_rule_is_named(changes: dict[str, Any], message: str) -> None:
    """One wrong thing in a right design is refused with the field, its value and the rule."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        design_of(document(**changes))


@pytest.mark.parametrize("given", [None, [], "test", 3])
def test_what_is_no_object_is_refused(given: object) -> None:
    """A design is an object."""
    with pytest.raises(InvalidRequestError, match=r"experiment: is .*, must be an object"):
        design_of(given)


def test_every_broken_rule_is_named_at_once() -> None:
    """Nobody has to mend one at a time; a list is not called too short when its items are wrong."""
    with pytest.raises(InvalidRequestError) as refused:
        design_of(
            document(ramp=-1, alpha=2, arms=[{"name": "a"}, {"name": "B", "model": "m", "version": "1"}])
        )
    fields = [part.partition(":")[0] for part in refused.value.message.split("; ")]
    assert fields == ["arms.0.model", "arms.0.version", "arms.1.name", "ramp", "alpha"]


def test_a_message_stays_short() -> None:
    """Neither long values nor many mistakes make a message that nobody can read."""
    many = document(description="x" * 100_000, overrides=[{"y" * 10_000: ""}] * 100)
    with pytest.raises(InvalidRequestError, match=r"and \d+ more$") as refused:
        design_of(many)
    assert len(refused.value.message) < 5_000


def test_the_smallest_design_has_sound_defaults() -> None:
    """Everybody enrolled, nobody held out, a layer of its own, accuracy at 5 %, no guardrail, no images."""
    design = a_design("test")
    assert (design.layer_name, design.slots, design.ramp, design.holdout) == ("test", (0, 10_000), 10_000, 0)
    assert (design.primary_metric, design.alpha, design.guardrails) == ("accuracy", 0.05, ())
    assert design.keep_images is None
    assert not design.promote_when_better
    assert design.control.name == "a"


def test_in_shadow_mode_the_control_has_all_the_weight() -> None:
    """It answers everybody, so that the allocation is whole."""
    assert a_design(**SHADOW).weights == (10_000, 0)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_design_survives_json(mode: Mode) -> None:
    """Written as JSON and read again, it is the same."""
    changes: dict[str, Any] = SHADOW if mode is Mode.SHADOW else {"mode": mode.value}
    design = a_design(**changes, layer="page", slots=[1, 2], guardrails=[SLOW], alias="production")
    assert design_of(design.model_dump(mode="json")) == design
    assert Design.model_validate_json(design.model_dump_json()) == design
