"""When the worker itself fails: what is raised, what is answered, and when the process ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest

from handlers import attn_batch, attn_preprocess
from handlers.attn_net import Net
from handlers.attn_preprocess import Picture, Recipe
from handlers.attn_wire import Pixels

if TYPE_CHECKING:
    from handlers.classify import Classifier
    from tests.handlers.conftest import Encode, FakeContext, Pack, Unpack

    Loaded = tuple[Classifier, FakeContext]


def _images(count: int) -> dict[str, object]:
    return {"kind": "image", "count": count}


def _fail(message: str) -> Any:  # noqa: ANN401 # stands in for a method
    def failing(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(message)

    return failing


def test_a_lost_forward_pass_is_raised(
    loaded: Loaded,
    pack: Pack,
    encode: Encode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TorchServe shall answer UNAVAILABLE: RuntimeError without the word CUDA, the traceback in the log."""
    classifier, context = loaded
    monkeypatch.setattr(Net, "run", _fail("CUDA out of memory"))
    with pytest.raises(RuntimeError, match="the forward pass failed") as lost:
        classifier.handle([pack([_images(1)], [encode("PNG", "red")])], context)
    assert "CUDA" not in str(lost.value)
    assert "CUDA out of memory" in caplog.text


def test_a_ruined_cuda_context_ends_the_process(
    loaded: Loaded, pack: Pack, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a new process can use the GPU again."""
    classifier, context = loaded

    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(Net, "run", _fail("CUDA error: device-side assert triggered"))
    with pytest.raises(SystemExit, match="1"):
        classifier.handle([pack([_images(1)], [encode("PNG", "red")])], context)


def test_a_bug_met_by_one_item_stays_with_it(
    loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen exception is INTERNAL for its item, logged, and says nothing of the inside."""
    classifier, context = loaded
    resize = attn_preprocess.fit_into

    def fragile(slot: Pixels, picture: Picture, recipe: Recipe) -> None:
        if np.asarray(picture).shape == (3, 3, 3):
            raise RuntimeError("secret")
        resize(slot, picture, recipe)

    monkeypatch.setattr(attn_batch, "fit_into", fragile)
    row = pack([_images(2)], [encode("PNG", "red", (3, 3)), encode("PNG", "red")])
    header = unpack(classifier.handle([row], context)[0]).header
    assert header["status"] == [13, 0]
    assert header["messages"] == {"0": "image: an internal error; see the worker's log"}
