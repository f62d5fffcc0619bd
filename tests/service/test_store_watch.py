"""The model store is followed: what comes is loaded, what goes is let go, what is no good is said once."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from serve.archive import Archive, open_archive
from serve.core.errors import EngineError
from tests.service.place import Place, enlist, ref_of, until, write

BROKEN = EngineError("its handler raises", reason="lost", retryable=False)


async def started(folder: Path, *models: str, keep_versions: int = 0) -> Place:
    """A place that serves `a` and whose watch has looked already."""
    place = Place(folder, *models, keep_versions=keep_versions)
    write(place.store, "a.mar", ref_of("a"))
    await place.start()
    await place.look()
    return place


async def test_what_comes_is_loaded_and_what_goes_is_let_go(tmp_path: Path) -> None:
    """A new model makes the server wait for it only from then on; one that goes is not waited for."""
    place = await started(tmp_path)
    write(place.store, "b.mar", ref_of("b"))
    await place.look()
    assert place.ready() == {"a:1", "b:1"}
    assert place.repository.pinned == {"a", "b"}
    (place.store / "a.mar").unlink()
    enlist(place.store)
    await place.look()
    assert place.states() == {"a:1": "UNAVAILABLE", "b:1": "READY"}
    assert place.reason(ref_of("a")) == "is not in the model store"
    assert place.control.registered == {ref_of("b")}
    assert place.repository.all_ready()


async def test_a_new_version_takes_over_and_old_ones_go(tmp_path: Path) -> None:
    """Also in the file of the old one, which serves until the new one does."""
    place = await started(tmp_path, keep_versions=1)
    write(place.store, "a-v2.mar", ref_of("a", "2"))
    await place.look()
    assert place.ready() == {"a:2"}
    place.control.load_errors[ref_of("a", "3")] = BROKEN
    write(place.store, "a-v2.mar", ref_of("a", "3"))
    await place.look()
    assert place.ready() == {"a:2"}
    write(place.store, "a-v2.mar", ref_of("a", "4"))
    await place.look()
    assert place.ready() == {"a:4"}
    assert place.control.registered == {ref_of("a", "4")}


async def test_an_older_version_comes_back_when_the_newest_goes(tmp_path: Path) -> None:
    """It serves before the newest stops, whether that one's file is removed or replaced by the older one."""
    place = await started(tmp_path, keep_versions=1)
    write(place.store, "a-v2.mar", ref_of("a", "2"))
    await place.look()
    assert place.ready() == {"a:2"}
    place.control.gate.clear()
    (place.store / "a-v2.mar").unlink()
    enlist(place.store)
    looking = asyncio.create_task(place.look())
    await until(lambda: place.states()["a:1"] == "LOADING")
    assert place.default("a") == "2"
    place.control.gate.set()
    await looking
    assert place.ready() == {"a:1"}
    write(place.store, "a.mar", ref_of("a", "3"))
    await place.look()
    write(place.store, "a.mar", ref_of("a", "1"))
    await place.look()
    assert place.ready() == {"a:1"}


async def test_a_file_that_grows_is_left_alone(tmp_path: Path) -> None:
    """Until two looks find it the same; other files do not wait for it, and what it was goes on."""
    place = await started(tmp_path)
    write(place.store, "big.mar", ref_of("big"))
    whole = (place.store / "big.mar").read_bytes()
    write(place.store, "b.mar", ref_of("b"))
    for size in range(10, 40, 10):
        (place.store / "big.mar").write_bytes(whole[:size])
        (place.store / "a.mar").write_bytes(whole[:size])
        await place.look(1)
    assert place.states() == {"a:1": "READY", "b:1": "READY"}
    (place.store / "big.mar").write_bytes(whole)
    await place.look(1)
    assert "big:1" not in place.states()
    await place.look(1)
    assert place.states() == {"a:1": "READY", "b:1": "READY", "big:1": "READY"}


async def test_other_contents_are_refused_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often one looks, and whatever else changes; the metric says so, too."""
    place = await started(tmp_path)
    assert place.sound() == 1
    write(place.store, "a.mar", ref_of("a"), b"other\n")
    await place.look(5)
    write(place.store, "b.mar", ref_of("b"))
    await place.look(5)
    assert capsys.readouterr().out.count("already served with other contents") == 1
    assert place.ready() == {"a:1", "b:1"}
    assert place.sound() == 0
    write(place.store, "a.mar", ref_of("a"))
    await place.look()
    assert place.sound() == 1
    write(place.store, "a.mar", ref_of("a"), b"other\n")
    await place.look()
    assert capsys.readouterr().out.count("already served with other contents") == 1


async def test_what_cannot_be_loaded_is_tried_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For each state of its file; a caller may try it again; the server stays ready."""
    place = await started(tmp_path)
    place.control.load_errors[ref_of("b")] = BROKEN
    write(place.store, "b.mar", ref_of("b"))
    await place.look()
    write(place.store, "c.mar", ref_of("c"))
    await place.look()
    assert place.states() == {"a:1": "READY", "b:1": "UNAVAILABLE", "c:1": "READY"}
    assert place.control.loads.count(ref_of("b")) == 1
    assert capsys.readouterr().out.count("its handler raises") == 1
    assert place.repository.all_ready()
    with pytest.raises(EngineError, match="its handler raises"):
        await place.loader.load("b")
    place.control.load_errors.clear()
    write(place.store, "b.mar", ref_of("b"), b"mended\n")
    await place.look()
    assert place.states()["b:1"] == "READY"


async def test_an_archive_waits_for_its_line(tmp_path: Path) -> None:
    """One that is not listed yet, or otherwise, is shown with the reason; with its line it is loaded."""
    place = await started(tmp_path)
    sums = place.store / "SHA256SUMS"
    before = sums.read_text()
    write(place.store, "b.mar", ref_of("b"))
    listed = sums.read_text()
    sums.write_text(before)
    await place.look()
    assert place.states() == {"a:1": "READY", "b:1": "UNAVAILABLE"}
    assert "is not listed in SHA256SUMS" in place.reason(ref_of("b"))
    sums.write_text(listed.replace("  b.mar", "x b.mar"))
    await place.look()
    assert place.states()["a:1"] == "READY"
    assert "SHA256SUMS, line 2" in place.reason(ref_of("b"))
    sums.write_text(listed)
    await place.look()
    assert place.ready() == {"a:1", "b:1"}


@pytest.mark.parametrize("watching", [True, False])
async def test_a_guessed_name_goes_with_its_file(tmp_path: Path, *, watching: bool) -> None:
    """What was shown under the name of a file is not shown any more when it has another name, or none."""
    place = await started(tmp_path)

    async def changed() -> None:
        await (place.look() if watching else place.loader.load("a"))

    (place.store / "odd.mar").write_bytes(b"junk")
    await changed()
    assert place.states() == {"a:1": "READY", "odd:1": "UNAVAILABLE"}
    (place.store / "odd.mar").rename(place.store / "even-v2.mar")
    await changed()
    assert place.states() == {"a:1": "READY", "even:2": "UNAVAILABLE"}
    (place.store / "even-v2.mar").unlink()
    await changed()
    assert place.states() == {"a:1": "READY"}
    shown = place.registry.get_sample_value("attnserve_model_ready", {"model": "even", "version": "2"})
    assert shown is None


async def test_what_a_caller_unloaded_stays_unloaded(tmp_path: Path) -> None:
    """Until its file changes, or a caller loads it."""
    place = await started(tmp_path)
    await place.loader.unload("a")
    write(place.store, "b.mar", ref_of("b"))
    await place.look()
    os.utime(place.store / "a.mar")
    await place.look()
    assert place.states() == {"a:1": "UNAVAILABLE", "b:1": "READY"}
    assert place.repository.all_ready()
    write(place.store, "a.mar", ref_of("a"), b"other\n")
    await place.look()
    assert place.ready() == {"a:1", "b:1"}
    await place.loader.unload("b")
    await place.look()
    await place.loader.load("b")
    await place.look()
    assert place.ready() == {"a:1", "b:1"}


async def test_only_what_has_changed_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or its line in SHA256SUMS: hashing a large store at every change would take long."""
    place = await started(tmp_path)
    opened: list[str] = []

    def remember(path: Path, sums: Mapping[str, str]) -> Archive:
        opened.append(path.name)
        return open_archive(path, sums)

    monkeypatch.setattr("serve.store.open_archive", remember)
    write(place.store, "b.mar", ref_of("b"))
    await place.look(4)
    write(place.store, "c.mar", ref_of("c"))
    await place.look(4)
    assert opened == ["b.mar", "c.mar"]
    sums = place.store / "SHA256SUMS"
    sums.write_text(
        "".join(line for line in sums.read_text().splitlines(keepends=True) if "b.mar" not in line)
    )
    await place.look(4)
    assert opened == ["b.mar", "c.mar", "b.mar"]
    assert place.ready() == {"a:1", "b:1", "c:1"}


async def test_only_named_models_are_loaded(tmp_path: Path) -> None:
    """Others are left where they are, good or bad; one that a caller loaded is followed, too."""
    place = await started(tmp_path, "a", "later")
    assert place.states() == {"a:1": "READY", "later:1": "UNAVAILABLE"}
    write(place.store, "b.mar", ref_of("b"))
    (place.store / "c.mar").write_bytes(b"junk")
    await place.look()
    assert place.ready() == {"a:1"}
    write(place.store, "later-v5.mar", ref_of("later", "5"))
    await place.look()
    assert place.states() == {"a:1": "READY", "later:5": "READY"}
    await place.loader.load("b")
    write(place.store, "b-v2.mar", ref_of("b", "2"))
    await place.look()
    assert place.ready() == {"a:1", "later:5", "b:1", "b:2"}
    (place.store / "a.mar").unlink()
    await place.look()
    assert not place.repository.all_ready()


@pytest.mark.parametrize("what", ["", "SHA256SUMS"])
async def test_a_store_that_vanishes_changes_nothing(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once and shown in the metric; back again, and changed meanwhile, it is followed."""
    place = await started(tmp_path)
    away = tmp_path / "away"
    (place.store / what).rename(away)
    await place.look(3)
    assert place.ready() == {"a:1"}
    assert place.sound() == 0
    assert capsys.readouterr().out.count("the model store is gone") == 1
    away.rename(place.store / what)
    write(place.store, "b.mar", ref_of("b"))
    await place.look(3)
    assert place.ready() == {"a:1", "b:1"}
    assert place.sound() == 1
    assert capsys.readouterr().out.count("the model store is back") == 1


async def test_a_change_while_torchserve_is_down_is_not_forgotten(tmp_path: Path) -> None:
    """It is followed when TorchServe is there again."""
    place = await started(tmp_path)
    place.loader.lose_all("it has ended")
    write(place.store, "b.mar", ref_of("b"))
    (place.store / "a.mar").unlink()
    await place.look(3)
    assert place.states() == {"a:1": "LOADING"}
    await place.restart()
    await place.look()
    assert place.states() == {"a:1": "UNAVAILABLE", "b:1": "READY"}


async def test_the_watch_survives_whatever_it_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that nobody thought of is logged, and the next look is taken."""
    place = await started(tmp_path)
    monkeypatch.setattr(place.watch, "_interval_s", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(place.loader, "follow", None)
        write(place.store, "b.mar", ref_of("b"))
        running = asyncio.create_task(place.watch.run())
        await until(lambda: "the model store is not followed" in capsys.readouterr().out)
        assert place.sound() == 0
    await until(lambda: place.ready() == {"a:1", "b:1"})
    shutil.rmtree(place.store)
    await until(lambda: place.sound() == 0)
    running.cancel()
    await asyncio.wait({running})
    assert place.ready() == {"a:1", "b:1"}
