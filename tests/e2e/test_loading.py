"""Models that come and go while the gateway runs."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.demo import Demo, list_again
from tests.e2e.oip import RefusedError, ask, grpc_raw
from tests.e2e.processes import attnserve, wait_until
from tests.e2e.stacks import Stack, StartStack, started

MODEL = "digits_plain"


def test_the_same_load_several_times_at_once(stack: Stack, demo: Demo) -> None:
    """One of them does the work, and all are told that it is done."""
    path = f"/v2/repository/models/{MODEL}"
    assert stack.rest.post(f"{path}/unload").status_code == 200
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: stack.rest.post(f"{path}/load").status_code, range(4)))
    assert answers == [200] * 4
    assert grpc_raw(stack, ask(MODEL, demo.images[0])).labels == [demo.labels[0]]


@pytest.fixture(scope="module")
def own_store(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """A gateway whose model store may be changed, and that store."""
    store = tmp_path_factory.mktemp("own") / "store"
    shutil.copytree(demo.archives, store)
    with started({"ATTNSERVE_MODEL_STORE": str(store), "ATTNSERVE_MODELS": f'["{MODEL}"]'}) as running:
        running.wait_ready()
        yield running, store


@pytest.mark.slow
def test_a_new_version_takes_over(own_store: tuple[Stack, Path], demo: Demo) -> None:
    """While callers go on asking, a higher version is loaded and becomes the default; no request is lost."""
    stack, store = own_store
    built = attnserve("build", "--arch", MODEL, "--untrained", "--version", "2", "--output", store)
    assert built.returncode == 0, built.stderr
    going = True

    def caller() -> list[str]:
        versions = []
        while going:
            versions.append(grpc_raw(stack, ask(MODEL, demo.images[0])).version)
        return versions

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(caller) for _ in range(4)]
        try:
            loaded = stack.rest.post(f"/v2/repository/models/{MODEL}/load")
            time.sleep(0.2)
        finally:
            going = False
    assert (loaded.status_code, loaded.text) == (200, "{}")
    for versions in (one.result() for one in callers):
        assert set(versions) == {"1", "2"}
        assert versions == sorted(versions), "version 1 answered after version 2"
    new = grpc_raw(stack, ask(MODEL, demo.images[0]))
    assert (new.version, new.parameters) == ("2", {"untrained": True})
    old = grpc_raw(stack, ask(MODEL, demo.images[0], version="1"))
    assert (old.version, old.labels) == ("1", [demo.labels[0]])


@pytest.mark.slow
def test_names_come_from_the_cards(start_stack: StartStack, demo: Demo, tmp_path: Path) -> None:
    """A renamed archive serves its model, which stays unloaded in the next TorchServe until it is loaded."""
    store = tmp_path / "store"
    shutil.copytree(demo.archives, store, ignore=shutil.ignore_patterns("digits_eca.mar", "digits_sk.mar"))
    (store / f"{MODEL}.mar").rename(store / "production.mar")
    list_again(store / "production.mar")
    stack = start_stack(model_store=store, models="[]")
    assert grpc_raw(stack, ask(MODEL, demo.images[0])).labels == [demo.labels[0]]
    assert stack.rest.post(f"/v2/repository/models/{MODEL}/unload").status_code == 200
    stack.java().kill()
    wait_until(lambda: len(stack.events("model ready")) == 3, 60, "the other model is served again")
    stack.wait_ready()
    with pytest.raises(RefusedError, match="it is unavailable: unloaded"):
        grpc_raw(stack, ask(MODEL, demo.images[0]))
    assert stack.rest.post(f"/v2/repository/models/{MODEL}/load").status_code == 200
    assert grpc_raw(stack, ask(MODEL, demo.images[0])).labels == [demo.labels[0]]


def change(archive: Path) -> None:
    """Make another archive of the same name and version: its list of contents is a line longer."""
    with zipfile.ZipFile(archive) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in entries.items():
            new.writestr(name, content + b"\n" * (name == "SHA256SUMS"))
    list_again(archive)


def test_other_contents_under_the_same_version(own_store: tuple[Stack, Path], demo: Demo) -> None:
    """They are a conflict, and what is served goes on being served."""
    stack, store = own_store
    change(store / f"{MODEL}.mar")
    response = stack.rest.post(f"/v2/repository/models/{MODEL}/load")
    assert response.status_code == 409
    assert "other contents: give the new archive a higher version" in response.json()["error"]
    assert grpc_raw(stack, ask(MODEL, demo.images[0], version="1")).labels == [demo.labels[0]]
