"""What the page of a load test's report shows of the capacity model's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadtests.capacity.answer import answered
from loadtests.capacity.fitted import Compared, Fitted
from loadtests.capacity.service import Batching, Service
from loadtests.report.page import page
from tests.loadtests.made_report import LOADS, QUANTILES, SERVICE_RATE, empty, made, wait_ms
from tests.reporting.markup import parsed


@pytest.mark.parametrize(
    "answer",
    [
        {"doubts": ["It is off."], "sentences": ["Do not plan with it: It is off.", "Replicas: 4."]},
        {"steps": [{"name": "8 a second", "rate": 8.0, "steady": False}], "knee": None, "curve": [{}]},
        {"autoscaling": None, "replicas": [{}], "steps": [{}, None], "errors": 3},
        {"format": 2},
    ],
)
def test_an_answer_of_the_capacity_model_may_lack_anything(answer: dict[str, Any]) -> None:
    """The page shows what there is; doubts stand first and are not repeated."""
    found = parsed(page(replace(empty(), capacity=answer)))
    assert "Capacity" in found.text_of("h2")
    assert not found.broken
    assert found.text.count("It is off.") == len(answer.get("doubts", ()))


def test_held_out_steps_are_marked_and_manifests_keep_their_lines() -> None:
    """Each step stands beside what a fit made of it that had not seen it, and by how much that is off."""
    found = parsed(page(replace(empty(), capacity=made().capacity)))
    (caption,) = [text for text in found.text_of("desc") if "The knee is predicted at" in text]
    assert caption.count("(held out)") == 2
    assert "40.0 a second (held out): p50 11.6 ms measured, 12.7 ms predicted" in caption
    assert found.text_of("td").count("with the other half") == found.text_of("td").count("alone") == 2
    assert found.text_of("small").count("+10 %") == 4 * 4
    assert found.text_of("pre")[0] == "kind: HorizontalPodAutoscaler\nspec: {}"


@pytest.mark.slow
def test_all_of_a_real_answer_is_shown() -> None:
    """The document that the capacity model writes is the one that the page reads."""
    queue = Service(alpha_ms=8.0, beta_ms=2.0, images=((1, 1.0),))
    steps = tuple(map(step, range(len(LOADS))))
    model = Fitted(
        model="digits_se",
        promised_ms=250.0,
        batching=Batching(max_batch=1),
        service=queue,
        halved=queue,
        left_out=(queue,),
        saturation=SERVICE_RATE,
        line_worst=0.01,
        steps=steps,
    )
    answer = answered(model, p99_ms=250.0, target_rate=300.0)
    found = parsed(page(replace(empty(), capacity=answer)))
    shown = " ".join(found.text.split())
    assert all(sentence in shown for sentence in answer["sentences"][-3:])
    for rows in (answer["steps"], answer["replicas"], [answer["autoscaling"]]):
        assert rows
    assert "HorizontalPodAutoscaler" in found.text_of("summary")
    assert found.text_of("pre") == [answer["autoscaling"][kind].strip() for kind in ("hpa", "keda")]
    assert found.text_of("th").count("Target") == 1
    (said,) = [text for text in found.text_of("desc") if "The knee is predicted at" in text]
    assert said.count("(held out)") == sum(bool(one["held_out"]) for one in answer["steps"]) == 2


def step(place: int) -> Compared:
    """A step of the made report, a tenth above which all predictions are."""
    load = LOADS[place]
    steady = load < SERVICE_RATE
    guesses = quantiles(load, 1.1) if steady else {}
    return Compared(
        name=f"{load:g} a second",
        rate=load,
        steady=steady,
        kept=steady,
        measured=quantiles(load, 1.0),
        predicted=guesses,
        held_out=guesses if place % 2 else {},
        left_out=guesses,
        mean_batch=1.0,
        predicted_batch=1.0 if steady else None,
    )


def quantiles(load: float, factor: float) -> Mapping[str, float]:
    """Of the response time in an M/M/1 queue, times a factor."""
    return {name: factor * wait_ms(load, share) for name, share in QUANTILES.items()}
