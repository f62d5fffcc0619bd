"""How models come in and go, from a model store into a TorchServe."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from serve.archive import ArchiveError
from serve.core.errors import ConflictError, EngineError, NotFoundError, UnavailableError
from serve.core.messages import ModelRef
from tests.service.house import FAR, REF, query_of
from tests.service.place import Place, enlist, ref_of, until, write
from tests.service.virtual_time import settle

UNREACHABLE = EngineError("TorchServe is gone", reason="unreachable")


@pytest.mark.parametrize(
    ("file_name", "ref"),
    [("my-net-v2.mar", ref_of("my-net-v2")), ("production.mar", ref_of("net", "7")), ("Odd name.mar", REF)],
)
async def test_the_card_says_who_a_model_is(tmp_path: Path, file_name: str, ref: ModelRef) -> None:
    """Whatever the archive is called, the server becomes ready, and the model unloads by its own name."""
    place = Place(tmp_path)
    write(place.store, file_name, ref)
    await place.start()
    assert place.states() == {str(ref): "READY"}
    assert place.repository.all_ready()
    await place.loader.unload(ref.name)
    assert place.states() == {str(ref): "UNAVAILABLE"}
    await place.loader.load(ref.name)
    assert place.repository.all_ready()


async def test_two_archives_of_one_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy is no matter; one with other contents is ignored, and that is said."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    write(place.store, "b.mar", REF)
    await place.start()
    assert "ignored" not in capsys.readouterr().out
    write(place.store, "c.mar", REF, b"other\n")
    await place.loader.load(REF.name)
    assert "c.mar" in capsys.readouterr().out
    assert place.states() == {str(REF): "READY"}


async def test_other_contents_are_a_conflict(tmp_path: Path) -> None:
    """A version that is served keeps its contents."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    write(place.store, "a.mar", REF, b"other\n")
    with pytest.raises(ConflictError, match="other contents"):
        await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY"}


@pytest.mark.parametrize("models", [(), ("one",), ("one", "two")])
async def test_what_was_unloaded_stays_so(tmp_path: Path, models: tuple[str, ...]) -> None:
    """In the next TorchServe, too, whether all models are served or some, until it is loaded again."""
    place = Place(tmp_path, *models)
    for name in ("one", "two"):
        write(place.store, f"{name}.mar", ref_of(name))
    await place.start()
    for name in models or ("one",):
        await place.loader.unload(name)
    await place.restart()
    ready = {entry.name for entry in place.repository.index(ready_only=True)}
    assert ready == ({"two"} if not models else set())
    await place.loader.load("one")
    await place.restart()
    assert {entry.name for entry in place.repository.index(ready_only=True)} == ready | {"one"}
    assert place.repository.all_ready()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [("cut", "cannot be read as a model archive"), ("change", "SHA256SUMS"), ("unlist", "is not listed")],
)
async def test_an_archive_that_cannot_be_opened_is_shown(tmp_path: Path, spoil: str, reason: str) -> None:
    """By its file name, as unavailable and with the reason; the others are served."""
    place = Place(tmp_path)
    write(place.store, "good.mar", ref_of("good"))
    write(place.store, "bad-v3.mar", ref_of("bad", "3"))
    bad = place.store / "bad-v3.mar"
    if spoil == "unlist":
        (place.store / "SHA256SUMS").write_text(
            f"{hashlib.sha256((place.store / 'good.mar').read_bytes()).hexdigest()}  good.mar\n"
        )
    else:
        bad.write_bytes(bad.read_bytes()[:100])
    if spoil == "cut":
        enlist(place.store)
    await place.start()
    assert place.states() == {"bad:3": "UNAVAILABLE", "good:1": "READY"}
    assert reason in place.reason(ref_of("bad", "3"))
    assert str(tmp_path) not in place.reason(ref_of("bad", "3"))
    shown = place.registry.get_sample_value("attnserve_model_ready", {"model": "bad", "version": "3"})
    assert shown == 0
    with pytest.raises(UnavailableError, match=reason):
        place.repository.find("bad").serving_card()
    with pytest.raises(ArchiveError, match=reason):
        await place.loader.load("bad")
    assert not place.repository.all_ready()
    write(place.store, "bad-v3.mar", ref_of("bad", "3"))
    await place.loader.load("bad")
    assert place.repository.all_ready()


async def test_a_name_that_is_not_in_the_store_is_shown(tmp_path: Path) -> None:
    """As unavailable, when a model can have that name; loading it is answered with not found."""
    place = Place(tmp_path, "absent", "No Name")
    await place.start()
    assert place.states() == {"absent:1": "UNAVAILABLE"}
    assert place.reason(ref_of("absent")) == "is not in the model store"
    with pytest.raises(NotFoundError):
        await place.loader.load("absent")


async def test_a_bad_file_does_not_hide_a_good_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file whose name is no model's, or that of a version which another file has, is only logged."""
    place = Place(tmp_path)
    write(place.store, "copy.mar", REF)
    for name in ("Bad.mar", f"{REF.name}.mar"):
        (place.store / name).write_bytes(b"junk")
    await place.start()
    assert place.states() == {str(REF): "READY"}
    assert place.repository.all_ready()
    said = capsys.readouterr().out
    assert "Bad.mar" in said
    assert f"{REF.name}.mar" in said


async def test_what_is_served_outlives_its_file(tmp_path: Path) -> None:
    """It is answered by the next TorchServe, too, from the copy that was checked; until it is unloaded."""
    place = Place(tmp_path)
    write(place.store, "digits_se.mar", REF)
    write(place.store, "other.mar", ref_of("other"))
    await place.start()
    (place.store / "digits_se.mar").write_bytes(b"junk")
    (place.store / "other.mar").unlink()
    with pytest.raises(ArchiveError):
        await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY", "other:1": "READY"}
    await place.restart()
    assert place.states() == {str(REF): "READY", "other:1": "READY"}
    await place.loader.unload("other")
    assert list(place.target.iterdir()) == [place.target / "digits_se-1.mar"]
    await place.restart()
    assert place.states() == {str(REF): "READY", "other:1": "UNAVAILABLE"}


async def test_an_unload_that_fails(tmp_path: Path) -> None:
    """It is told and shown, and another load clears away what is left of the version first."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    place.control.unload_error = UNREACHABLE
    with pytest.raises(EngineError, match="TorchServe is gone"):
        await place.loader.unload(REF.name)
    assert place.states() == {str(REF): "UNAVAILABLE"}
    assert place.reason(REF) == "could not be unloaded: TorchServe is gone"
    assert place.control.registered == {REF}
    place.control.unload_error = None
    await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY"}


async def test_unload_waits_for_what_runs(tmp_path: Path) -> None:
    """TorchServe hears of it only after the batch that runs has been answered."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    place.engine.hang()
    card = place.repository.find(REF.name).serving_card()
    asked = asyncio.create_task(place.house.batcher.predict(card, query_of((b"x",), card), FAR))
    await settle()
    unloading = asyncio.create_task(place.loader.unload(REF.name))
    await until(lambda: place.states() == {str(REF): "UNLOADING"})
    assert place.control.registered == {REF}
    place.engine.wake()
    assert (await asked).status == (0,)
    await unloading
    assert place.control.registered == set()


async def test_names_that_callers_make_up_are_not_kept(tmp_path: Path) -> None:
    """However many are asked for, nothing is remembered of them."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    for number in range(20):
        for ask in (place.loader.load, place.loader.unload):
            with pytest.raises(NotFoundError):
                await ask(f"guess{number}")
    assert not place.loader._changes  # noqa: SLF001  seen nowhere else
