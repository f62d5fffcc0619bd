"""How versions take turns: a new one beside the old, which is let go; a bad one changes nothing."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from serve.archive import ArchiveError
from serve.core.catalog import ModelState
from serve.core.errors import ConflictError, EngineError, UnavailableError
from serve.engines.fake import Pace
from tests.service.place import Place, ref_of, until, write
from tests.service.virtual_time import settle

NAME = "net"
BROKEN = EngineError("its handler raises", reason="lost", retryable=False)


def write_version(place: Place, version: int, contents: bytes | None = None) -> None:
    """Put a version into the store; its contents are its own unless they are given."""
    write(place.store, f"{NAME}-v{version}.mar", ref_of(NAME, str(version)), contents or b"%d\n" % version)


async def started(folder: Path, *versions: int, keep: int = 0, pinned: str = "") -> Place:
    """A place that serves these versions of one model."""
    place = Place(folder, keep_versions=keep, default_versions={NAME: pinned} if pinned else None)
    for version in versions:
        write_version(place, version)
    await place.start()
    return place


async def test_the_old_version_answers_until_the_new_one_can(tmp_path: Path) -> None:
    """Asked without a version, the old one; then the new one; by its number each is asked all the time."""
    place = await started(tmp_path, 1)
    write_version(place, 2)
    place.control.gate.clear()
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: ref_of(NAME, "2") in place.control.registered)
    assert (place.default(NAME), place.states()["net:2"]) == ("1", "LOADING")
    assert (await place.ask(NAME)).status == (0,)
    place.control.gate.set()
    await loading
    assert place.default(NAME) == "2"
    assert [(await place.ask(NAME, version)).status for version in "12"] == [(0,), (0,)]


async def test_versions_that_are_not_kept_are_let_go(tmp_path: Path) -> None:
    """After a swap the newest stay; TorchServe, its store and the next TorchServe have the others no more."""
    place = await started(tmp_path, 1, keep=2)
    for version in (2, 3):
        write_version(place, version)
        await place.loader.load(NAME)
    assert place.ready() == {"net:2", "net:3"}
    assert place.reason(ref_of(NAME, "1")) == "not kept: keep_versions is 2, and newer versions are ready"
    assert place.control.registered == {ref_of(NAME, "2"), ref_of(NAME, "3")}
    assert sorted(path.name for path in place.target.iterdir()) == ["net-2.mar", "net-3.mar"]
    await place.restart()
    assert place.ready() == {"net:2", "net:3"}


async def test_only_what_is_kept_is_loaded_at_the_start(tmp_path: Path) -> None:
    """An older version takes the place of a newer one that fails."""
    place = Place(tmp_path, keep_versions=1)
    for version in (1, 2, 3, 10):
        write_version(place, version)
    place.control.load_errors[ref_of(NAME, "10")] = BROKEN
    await place.start()
    assert place.ready() == {"net:3"}
    assert place.reason(ref_of(NAME, "10")) == "its handler raises"
    assert ref_of(NAME, "2") not in place.control.loads


async def test_a_pinned_default_stays_the_default_and_is_kept(tmp_path: Path) -> None:
    """However many newer versions come; they answer by their number."""
    place = await started(tmp_path, 1, keep=1, pinned="1")
    for version in (2, 3):
        write_version(place, version)
        await place.loader.load(NAME)
    assert place.ready() == {"net:1", "net:3"}
    assert place.default(NAME) == "1"
    await place.restart()
    assert place.ready() == {"net:1", "net:3"}


async def test_what_waits_for_the_old_version_is_answered_by_it(tmp_path: Path) -> None:
    """It is let go after its last answer, and takes nothing new meanwhile."""
    place = Place(tmp_path, keep_versions=1, pace=Pace(workers=2, batch_s=0.01))
    write_version(place, 1)
    await place.start()
    asked = [asyncio.create_task(place.ask(NAME)) for _ in range(40)]
    write_version(place, 2)
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: place.states()["net:1"] == "UNLOADING")
    with pytest.raises(UnavailableError, match="it is unloading"):
        await place.ask(NAME, "1")
    await loading
    assert [answer.status for answer in await asyncio.gather(*asked)] == [(0,)] * 40
    assert place.control.registered == {ref_of(NAME, "2")}


@pytest.mark.parametrize("failing", ["load", "describe", "canary", "file"])
async def test_a_bad_version_leaves_the_old_one_serving(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index says why; TorchServe is not left with it, nor its store; mended, it takes over."""
    place = await started(tmp_path, 1, keep=1)
    write_version(place, 2)
    bad = ref_of(NAME, "2")
    good = (place.store / "net-v2.mar").read_bytes()
    if failing == "load":
        place.control.load_errors[bad] = BROKEN
    elif failing == "describe":
        monkeypatch.setattr(place.engine, "hold", lambda _card: None)
    elif failing == "canary":
        place.engine.fail_next(BROKEN)
    else:
        (place.store / "net-v2.mar").write_bytes(good[:-10])
    with pytest.raises((EngineError, ArchiveError)):
        await place.loader.load(NAME)
    assert place.states() == {"net:1": "READY", "net:2": "UNAVAILABLE"}
    assert place.reason(bad)
    assert place.default(NAME) == "1"
    assert place.control.registered == {ref_of(NAME, "1")}
    assert [path.name for path in place.target.iterdir()] == ["net-1.mar"]
    assert (await place.ask(NAME)).status == (0,)
    place.control.load_errors.clear()
    monkeypatch.undo()
    (place.store / "net-v2.mar").write_bytes(good)
    await place.loader.load(NAME)
    assert place.ready() == {"net:2"}


async def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nobody's mistake; the old version serves, no half of a file stays, and it may be tried again."""

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = await started(tmp_path, 1)
    write_version(place, 2)
    monkeypatch.setattr("serve.archive._copy", full)
    with pytest.raises(UnavailableError, match=r"net-v2\.mar cannot be copied .*: No space left on device"):
        await place.loader.load(NAME)
    assert place.states() == {"net:1": "READY", "net:2": "UNAVAILABLE"}
    assert [path.name for path in place.target.iterdir()] == ["net-1.mar"]
    monkeypatch.undo()
    await place.loader.load(NAME)
    assert place.ready() == {"net:1", "net:2"}


async def test_torchserve_restarts_in_the_middle_of_a_swap(tmp_path: Path) -> None:
    """What was being loaded fails for its caller; everything wanted comes back, each once."""
    place = await started(tmp_path, 1)
    write_version(place, 2)
    place.control.gate.clear()
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: ref_of(NAME, "2") in place.control.registered)
    restarting = asyncio.create_task(place.restart())
    await settle()
    place.control.gate.set()
    with pytest.raises(UnavailableError, match="TorchServe ended while the model was loading"):
        await loading
    await restarting
    assert place.ready() == {"net:1", "net:2"}
    assert place.pool.holders(ref_of(NAME, "2")) == (place.engine,)
    assert place.control.registered == {ref_of(NAME, "1"), ref_of(NAME, "2")}


async def test_torchserve_ends_while_a_version_is_let_go(tmp_path: Path) -> None:
    """It is gone with it, and does not come back."""
    place = Place(tmp_path, keep_versions=1, pace=Pace(workers=2, batch_s=0.05))
    write_version(place, 1)
    await place.start()
    asked = [asyncio.create_task(place.ask(NAME)) for _ in range(10)]
    write_version(place, 2)
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: place.states()["net:1"] == "UNLOADING")
    await place.restart()
    await asyncio.gather(loading, *asked, return_exceptions=True)
    assert place.ready() == {"net:2"}
    assert place.control.registered == {ref_of(NAME, "2")}


async def test_a_caller_who_goes_does_not_stop_a_load(tmp_path: Path) -> None:
    """It ends as if he had waited."""
    place = await started(tmp_path, 1)
    write_version(place, 2)
    place.control.gate.clear()
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: ref_of(NAME, "2") in place.control.registered)
    loading.cancel()
    await asyncio.wait({loading})
    place.control.gate.set()
    await until(lambda: place.states()["net:2"] != "LOADING")
    assert place.default(NAME) == "2"


async def test_the_end_of_the_server_ends_a_load(tmp_path: Path) -> None:
    """Its caller hears why."""
    place = await started(tmp_path, 1)
    write_version(place, 2)
    place.control.gate.clear()
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: ref_of(NAME, "2") in place.control.registered)
    await place.loader.close()
    with pytest.raises(UnavailableError, match="the server is shutting down"):
        await loading


async def test_models_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """While one takes long to load, another is unloaded and loaded."""
    place = await started(tmp_path, 1)
    write(place.store, "other.mar", ref_of("other"))
    await place.loader.load("other")
    write_version(place, 2)
    place.control.gate.clear()
    loading = asyncio.create_task(place.loader.load(NAME))
    await until(lambda: ref_of(NAME, "2") in place.control.registered)
    await place.loader.unload("other")
    assert place.states() == {"net:1": "READY", "net:2": "LOADING", "other:1": "UNAVAILABLE"}
    place.control.gate.set()
    await loading


async def test_contents_of_a_version_never_change(tmp_path: Path) -> None:
    """Other contents are refused while it is served, and after a restart of TorchServe the old ones serve."""
    place = await started(tmp_path, 1)
    served = place.repository.find(NAME).known_card()
    write_version(place, 1, b"other\n")
    with pytest.raises(ConflictError, match="other contents: give the new archive a higher version"):
        await place.loader.load(NAME)
    await place.restart()
    assert place.repository.find(NAME).serving_card() == served


async def test_engines_that_cannot_answer_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As unavailable with the reason, what waits ends with it; when they can again, the version is ready."""
    place = await started(tmp_path, 1)
    ref = ref_of(NAME)
    place.engine.hang()
    asked = [asyncio.create_task(place.ask(NAME)) for _ in range(40)]
    await settle()
    waiting = place.batcher.waiting(ref)
    monkeypatch.setattr(place.pool, "available", lambda _ref: False)
    place.house.reflect(ref, "the breaker is open")
    assert (place.states(), place.reason(ref)) == ({"net:1": "UNAVAILABLE"}, "the breaker is open")
    place.engine.wake()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(end) for end in ends if isinstance(end, UnavailableError)] == [
        "model 'net' version 1 went away: the breaker is open"
    ] * waiting
    monkeypatch.undo()
    place.house.reflect(ref, "")
    assert place.states() == {"net:1": "READY"}
    assert place.reason(ref) == ""


async def test_engines_do_not_bring_back_what_was_unloaded(tmp_path: Path) -> None:
    """Nor what is not known, nor what is being loaded: only those states are shown that engines decide."""
    place = await started(tmp_path, 1)
    await place.loader.unload(NAME)
    place.house.reflect(ref_of(NAME), "why")
    place.house.reflect(ref_of("unknown"), "why")
    assert place.states() == {"net:1": "UNAVAILABLE"}
    assert place.reason(ref_of(NAME)) == "unloaded"
    place.loader.lose_all("TorchServe has ended")
    entry = place.repository.find(NAME)
    assert entry.state is ModelState.UNAVAILABLE
