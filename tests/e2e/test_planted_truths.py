"""An arm that is made worse on the digits, on a real TorchServe: the system finds it, and by how much."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.demo import Demo
from tests.e2e.experimenter import Ask, Experimenter, Json, experimenter, pairs_of, row_of, two_arms
from tests.e2e.stacks import StartStack
from tests.e2e.worse import AWFUL, BAD, GOOD, held_out, worse_store

SEED = 4
ROUND = 200  # requests between two looks at the report
IMAGES_A_REQUEST = 90


@pytest.fixture(scope="module")
def store(demo: Demo) -> Path:
    """The good digits net, and the worse ones."""
    return worse_store(demo.archives.parent)


@pytest.mark.slow
async def test_an_arm_that_is_much_worse(start_stack: StartStack, store: Path) -> None:
    """Eight points less on the digits are called worse within 600 images, and by the right amount."""
    await _finds_the_worse_arm(start_stack, store, AWFUL, 600)


@pytest.mark.slow
async def test_an_arm_that_is_two_points_worse(start_stack: StartStack, store: Path) -> None:
    """Two points less on the digits are called worse within 3,000 images, and by the right amount."""
    await _finds_the_worse_arm(start_stack, store, BAD, 3000)


async def _finds_the_worse_arm(start_stack: StartStack, store: Path, arm: str, most_requests: int) -> None:
    stack = start_stack(model_store=store, models=f'["{GOOD}","{arm}"]', experiments_poll_interval_s=0.5)
    digits, chance = held_out(), random.Random(SEED)  # noqa: S311  draws images
    async with experimenter(stack.addresses["http"]) as people:
        true_difference = await _right(people, arm, digits) - await _right(people, GOOD, digits)
        design = two_arms(GOOD, arm, "paired", margin=0.005, planned_units=most_requests)
        await people.start({"name": "which", **design})
        asked, verdict = 0, ""
        while verdict != "worse" and asked < most_requests:
            drawn = [chance.choice(digits) for _ in range(ROUND)]
            asks = [
                Ask(unit=f"image-{asked + number}", image=image, label=label)
                for number, (image, label) in enumerate(drawn)
            ]
            told = await people.ask("which", asks)
            assert {one.model for one in told} == {GOOD}, "the caller gets the control's answer"
            assert await people.tell("which", told) == ["accepted"] * ROUND
            asked += ROUND
            report = await people.report("which", partial(_has_pairs, asked))
            verdict = report["verdict"]
    row = row_of(report, "accuracy")
    assert verdict == "worse", report["sentence"]
    assert row["low"] <= true_difference <= row["high"]


def _has_pairs(count: int, report: Json) -> bool:
    return pairs_of(report) == count


async def _right(people: Experimenter, model: str, digits: list[tuple[bytes, str]]) -> float:
    """The share of all held-out digits that a model names rightly, asked as any caller asks."""
    right = 0
    for start in range(0, len(digits), IMAGES_A_REQUEST):
        part = digits[start : start + IMAGES_A_REQUEST]
        answers = await people.labels(model, [image for image, _ in part])
        right += sum(answer == label for answer, (_, label) in zip(answers, part, strict=True))
    return right / len(digits)
