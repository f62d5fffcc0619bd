"""Versions of a model come and go under load, with the real TorchServe: no request is lost or mixed up."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.demo import Demo, list_again
from tests.e2e.oip import Answer, RefusedError, Way, ask, grpc_raw, rest_binary
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, StartStack
from tests.e2e.versions import (
    Spoil,
    add_version,
    broken_net,
    code_at_batch,
    code_at_load,
    wrong_samples,
)

MODEL = "digits_plain"
PATIENCE_S = 60.0
log = logging.getLogger(__name__)
OUTPUTS: Mapping[str, Mapping[str, str]] = {"label": {}, "probabilities": {}}


class Load:
    """Callers that ask without a pause, each over one way, and check every answer."""

    def __init__(self, stack: Stack, demo: Demo) -> None:
        self._stack = stack
        self._going = True
        # One that version 1 names rightly, so that all versions must.
        self._image, self._label = next(
            (image, label)
            for image, label in zip(demo.images, demo.labels, strict=True)
            if grpc_raw(stack, ask(MODEL, image)).labels == [label]
        )
        self._pool = ThreadPoolExecutor(8)
        self._callers: list[Future[None]] = []
        self._lock = threading.Lock()
        self.seconds: list[float] = []
        self.versions: Counter[str] = Counter()

    def call(self, way: Way, version: str = "") -> None:
        """Start one more caller, who names that version, or none."""
        self._callers.append(self._pool.submit(self._ask_on, way, version))

    def end(self) -> None:
        """Let all callers end; raises what one of them met."""
        self._going = False
        try:
            for caller in self._callers:
                caller.result(PATIENCE_S)
        finally:
            self._pool.shutdown()

    def _ask_on(self, way: Way, version: str) -> None:
        latest = 0
        while self._going:
            began = time.monotonic()
            answer = way(self._stack, ask(MODEL, self._image, version=version, outputs=OUTPUTS))
            with self._lock:
                self.seconds.append(time.monotonic() - began)
                self.versions[answer.version] += 1
            self._check(answer)
            assert answer.version == version or not version
            assert version or int(answer.version) >= latest, "an older version answered after a newer one"
            latest = int(answer.version)

    def _check(self, answer: Answer) -> None:
        """Card and weights are those of the version that the answer names."""
        assert answer.labels == [self._label], answer
        row = (int(self._label) + int(answer.version) - 1) % 10
        assert answer.outputs["probabilities"].argmax(axis=1).tolist() == [row], answer


@contextmanager
def loaded(stack: Stack, demo: Demo) -> Iterator[Load]:
    """Two callers over gRPC and two over REST, to whom no request may fail."""
    load = Load(stack, demo)
    for way in (grpc_raw, grpc_raw, rest_binary, rest_binary):
        load.call(way)
    try:
        yield load
    finally:
        load.end()


@pytest.fixture
def store(demo: Demo, tmp_path: Path) -> Path:
    """A model store of one's own, with version 1 of one model."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(demo.archives / f"{MODEL}.mar", folder)
    list_again(folder / f"{MODEL}.mar")
    return folder


@pytest.fixture
def add(demo: Demo, store: Path) -> Callable[..., Path]:
    """A function that puts a version into that store."""

    def one(version: int, spoil: Spoil | None = None) -> Path:
        return add_version(store, demo.archives / f"{MODEL}.mar", version, spoil)

    return one


def index(stack: Stack) -> dict[str, tuple[str, str]]:
    """State and reason of every version of the model."""
    rows = stack.rest.post("/v2/repository/index", json={}).json()
    return {row["version"]: (row["state"], row.get("reason", "")) for row in rows if row["name"] == MODEL}


def wait_for(stack: Stack, version: int, state: str) -> str:
    """Wait until a version is in a state; gives the reason."""
    known = str(version)
    wait_until(
        lambda: index(stack).get(known, ("", ""))[0] == state, PATIENCE_S, f"version {version} is {state}"
    )
    return index(stack)[known][1]


@pytest.mark.slow
def test_versions_take_turns_under_load(
    start_stack: StartStack,
    store: Path,
    add: Callable[..., Path],
    demo: Demo,
) -> None:
    """Three good versions and a bad one come, the oldest goes: nobody hears of it but by the number."""
    stack = start_stack(model_store=store, models="[]", model_store_watch_s=0.3, keep_versions=3)
    add(2, wrong_samples)
    with loaded(stack, demo) as load:
        assert "parity" in wait_for(stack, 2, "UNAVAILABLE")
        add(3)
        wait_for(stack, 3, "READY")
        load.call(grpc_raw, "3")
        for version in (4, 5):
            add(version)
            wait_for(stack, version, "READY")
        assert wait_for(stack, 1, "UNAVAILABLE").startswith("not kept: keep_versions is 3")
        wait_until(lambda: load.versions["5"] > 20, PATIENCE_S, "the newest version answers")
    assert load.versions.keys() == {"1", "3", "4", "5"}
    assert len(stack.workers()) == 3
    assert len([line for line in stack.events("model not loaded") if "-v2.mar" in line["archive"]]) == 1
    p99 = float(np.quantile(load.seconds, 0.99))
    log.info("%d requests, p99 %.0f ms while five versions were loaded", len(load.seconds), p99 * 1e3)


BAD = {
    "TorchScript that cannot be read": (broken_net, "cannot be loaded"),
    "a handler that raises": (code_at_load("raise RuntimeError('no room for me')"), "no room for me"),
    "a worker that ends": (code_at_load("import os; os._exit(3)"), "cannot be loaded"),
    "a handler that loads for too long": (
        code_at_load("import time; time.sleep(600)"),
        "not ready after 15 s",
    ),
    "a canary that fails": (code_at_batch("raise RuntimeError('no')"), "the worker was lost"),
}


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
def test_bad_versions_under_load(
    start_stack: StartStack, store: Path, add: Callable[..., Path], demo: Demo
) -> None:
    """Each is shown with its reason and leaves no worker; the old version answers every request."""
    settings = {"model_store_watch_s": 0.3, "torchserve_load_timeout_s": 15}
    stack = start_stack(model_store=store, models="[]", **settings)
    with loaded(stack, demo):
        for version, (spoil, reason) in enumerate(BAD.values(), 2):
            add(version, spoil)
            assert reason in wait_for(stack, version, "UNAVAILABLE")
        changed = add(len(BAD) + 2)
        changed.write_bytes(changed.read_bytes()[:-10])
        assert "SHA256SUMS says" in wait_for(stack, len(BAD) + 2, "UNAVAILABLE")
        wait_until(lambda: len(stack.workers()) == 1, PATIENCE_S, "only the good version has a worker")
    assert index(stack)["1"] == ("READY", "")


@pytest.mark.slow
def test_torchserve_dies_in_the_middle_of_a_swap(
    start_stack: StartStack, store: Path, add: Callable[..., Path], demo: Demo
) -> None:
    """Both versions come back, each with one worker, the pinned one as the default."""
    pinned = f'{{"{MODEL}": "1"}}'
    stack = start_stack(model_store=store, models="[]", model_store_watch_s=0.3, default_versions=pinned)
    add(2)
    wait_for(stack, 2, "LOADING")
    stack.java().kill()
    with pytest.raises(RefusedError, match="UNAVAILABLE"):
        grpc_raw(stack, ask(MODEL, demo.images[0]))
    for version in (1, 2):
        wait_for(stack, version, "READY")
    assert len(stack.workers()) == 2
    labels = [
        stack.rest.get(f"/v2/models/{MODEL}{which}").json()["properties"]["labels"]
        for which in ("", "/versions/1", "/versions/2")
    ]
    assert labels[0] == labels[1] != labels[2]
    with loaded(stack, demo) as load:
        load.call(grpc_raw, "2")
        wait_until(lambda: min(load.versions["1"], load.versions["2"]) > 5, PATIENCE_S, "both answer")
    assert load.versions.keys() == {"1", "2"}
