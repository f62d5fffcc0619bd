"""Hostile pictures and tensors through the whole stack, in one batch with good ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.demo import Demo
from tests.e2e.oip import WAYS, Input, Question, RefusedError, Way, ask
from tests.e2e.stacks import Stack
from tests.hostile.pictures import Picture, pictures

MODEL = "digits_se"
AT_A_TIME = 100
MAX_WORKER_BYTES = 800 << 20

# All finite, as is every check of what comes in; inside the net they overflow.
EXTREMES = {
    "3e38": np.full((3, 16, 16), 3e38),
    "-3e38": np.full((3, 16, 16), -3e38),
    "both in turn": np.full((3, 16, 16), 3e38) * np.where(np.arange(16) % 2, 1, -1),
}


def test_pictures_beside_good_ones(stack: Stack, demo: Demo) -> None:
    """Each gets a status of its own, the good ones around them are named rightly, and no worker is lost."""
    workers = {worker.pid for worker in stack.workers()}
    made = list(pictures())
    for start in range(0, len(made), AT_A_TIME):
        some = made[start : start + AT_A_TIME]
        _ask_beside(stack, demo, some)
    assert {worker.pid for worker in stack.workers()} == workers
    assert max(worker.memory_info().rss for worker in stack.workers()) < MAX_WORKER_BYTES


def _ask_beside(stack: Stack, demo: Demo, some: list[Picture]) -> None:
    files = (demo.images[0], *(picture.content for picture in some), demo.images[-1])
    answer = WAYS["gRPC, raw"](stack, ask(MODEL, *files, parameters={"partial": True}))
    first, *status, last = answer.outputs["status"].tolist()
    assert (first, last) == (0, 0)
    wrong = {
        picture.name: code for picture, code in zip(some, status, strict=True) if code not in picture.codes
    }
    assert wrong == {}
    assert (answer.labels[0], answer.labels[-1]) == (demo.labels[0], demo.labels[-1])
    empty = np.isnan(answer.outputs["probabilities"]).any(axis=1)
    assert empty.tolist() == [code != 0 for code in (first, *status, last)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("extreme", EXTREMES.values(), ids=EXTREMES)
def test_finite_inputs_with_outputs_that_are_not(
    stack: Stack, demo: Demo, way: Way, extreme: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    """They fail by their index as the caller's fault, and never come back as rows of NaN with status 0."""
    data = np.stack([demo.inputs[0], extreme]).astype("<f4")
    inputs = (Input(name="input", datatype="FP32", shape=data.shape, data=data),)
    with pytest.raises(RefusedError, match=r"image \[1\]: .*finite") as refused:
        way(stack, Question(model=MODEL, inputs=inputs))
    assert refused.value.status in ("INVALID_ARGUMENT", 400)
    outputs: dict[str, dict[str, bool | int | str]] = {"probabilities": {}, "label": {}, "attention": {}}
    answer = way(stack, Question(model=MODEL, inputs=inputs, outputs=outputs, parameters={"partial": True}))
    assert answer.outputs["status"].tolist() == [0, 3]
    assert answer.labels == [demo.labels[0], ""]
    assert np.isfinite(answer.outputs["attention"][0]).all()
