"""Files that change while the gateway runs; what cannot be used leaves the last good version in force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from serve.metrics import Metrics
from serve.reloading import Reloader, Source

SOON_S, NEVER_S = 0.01, 3600.0


class Kept:
    """Two files whose first words must be the same; takes down what was put in force."""

    def __init__(self, folder: Path) -> None:
        self.files = (folder / "one", folder / "two")
        self.in_force: list[str] = []
        self.tries = 0
        self.too_early = False
        self.write("first")

    def write(self, one: str, two: str | None = None) -> None:
        """Change both, each in one go."""
        for file, text in zip(self.files, (one, one if two is None else two), strict=True):
            new = file.with_name("new")
            new.write_text(text)
            new.rename(file)

    def apply(self, contents: Sequence[bytes]) -> str:
        """Put them in force."""
        self.tries += 1
        one, two = (content.decode() for content in contents)
        if one != two:
            raise ValueError(f"{one!r} is not {two!r}")
        if self.too_early:
            raise ValueError("it is too early")
        self.in_force.append(one)
        return one


class Watched:
    """A running reloader over `Kept`, and how it looks from outside."""

    def __init__(self, kept: Kept, interval_s: float) -> None:
        self.registry = CollectorRegistry()
        self.heard: list[tuple[str, str]] = []
        source = Source(what="tokens", files=kept.files, apply=kept.apply)
        self.reloader = Reloader([source], interval_s, Metrics(self.registry), self._hear)

    def _hear(self, what: str, reason: str) -> None:
        self.heard.append((what, reason))

    def success(self, what: str = "tokens") -> float | None:
        """The gauge."""
        return self.registry.get_sample_value("attnserve_config_reload_success", {"what": what})


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Files that are good."""
    return Kept(tmp_path)


@asynccontextmanager
async def watched(kept: Kept, interval_s: float = SOON_S) -> AsyncIterator[Watched]:
    """Look at the files while the context lasts."""
    watching = Watched(kept, interval_s)
    watching.reloader.load()
    task = asyncio.create_task(watching.reloader.run())
    try:
        yield watching
    finally:
        assert not task.done(), "nothing that a file holds ends the watch"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  files tell nobody
            await asyncio.sleep(SOON_S)


async def until_tried(kept: Kept, more: int) -> None:
    """Wait until files were tried so many times more."""
    goal = kept.tries + more
    await until(lambda: kept.tries >= goal)


async def some_looks() -> None:
    """Time enough for several."""
    await asyncio.sleep(20 * SOON_S)


async def test_a_change_is_put_in_force_once(kept: Kept) -> None:
    """It is seen by content, logged once, and told to whoever asked."""
    async with watched(kept) as watching:
        with capture_logs() as lines:
            kept.write("second")
            await until(lambda: watching.heard != [])
            await some_looks()
    assert kept.in_force == ["first", "second"]
    assert lines[-1] == {"event": "reloaded", "log_level": "info", "what": "tokens", "now": "second"}
    assert watching.heard == [("tokens", "")]
    assert (watching.success(), watching.success("certificates")) == (1, 1)


async def test_a_bad_version_leaves_the_last_good_one(kept: Kept) -> None:
    """The gauge falls, one line says why however long it lasts, and the next good version mends it."""
    async with watched(kept) as watching:
        with capture_logs() as lines:
            kept.write("second", "other")
            await until_tried(kept, 5)
            assert (kept.in_force, watching.success()) == (["first"], 0)
        reasons = [line["reason"] for line in lines if line["event"] == "reload failed"]
        assert reasons[-1] == "'second' is not 'other'"
        assert len(reasons) == len(set(reasons)), "the same failure is said once"
        assert watching.heard == [("tokens", reason) for reason in reasons]
        kept.write("third")
        await until(lambda: watching.success() == 1)
        assert kept.in_force == ["first", "third"]
        assert watching.heard[-1] == ("tokens", "")


async def test_a_file_that_goes_away_and_comes_back(kept: Kept) -> None:
    """Unreadable is bad, and the same content as before is good again."""
    async with watched(kept) as watching:
        with capture_logs() as lines:
            kept.files[1].unlink()
            await until(lambda: watching.success() == 0)
            await some_looks()
            kept.write("first")
            await until(lambda: watching.success() == 1)
    assert [line["event"] for line in lines] == ["reload failed", "reloaded"]
    assert lines[0]["reason"] == f"{kept.files[1]}: cannot be read: No such file or directory"


async def test_what_failed_is_tried_again_unchanged(kept: Kept) -> None:
    """What made it fail may lie outside the files: a certificate that is not valid yet will be."""
    async with watched(kept) as watching:
        kept.too_early = True
        kept.write("second")
        await until_tried(kept, 3)
        assert (kept.in_force, watching.success()) == (["first"], 0)
        kept.too_early = False
        await until(lambda: watching.success() == 1)
    assert kept.in_force == ["first", "second"]


async def test_a_signal_looks_at_once(kept: Kept) -> None:
    """Changed or not, and says each time what came of it."""
    async with watched(kept, NEVER_S) as watching:
        with capture_logs() as lines:
            for text in ("second", "second"):
                kept.write(text)
                watching.reloader.now()
                await until_tried(kept, 1)
            kept.write("third", "bad")
            for _ in range(2):
                watching.reloader.now()
                await until_tried(kept, 1)
            await some_looks()
    assert kept.in_force == ["first", "second", "second"]
    assert [line["event"] for line in lines] == ["reloaded", "reloaded", "reload failed", "reload failed"]


def test_the_first_version_must_be_good(kept: Kept) -> None:
    """A gateway does not start with less than it was told to have."""
    kept.write("first", "other")
    with pytest.raises(ValueError, match="'first' is not 'other'"):
        Watched(kept, NEVER_S).reloader.load()
    kept.files[0].unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        Watched(kept, NEVER_S).reloader.load()


async def test_a_link_that_is_swapped_is_a_change(kept: Kept, tmp_path: Path) -> None:
    """As a cluster changes a mounted Secret: the link moves, times and sizes may stay."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text(version)
    data, swap = tmp_path / "data", tmp_path / "swap"
    data.symlink_to("v1")
    kept.files = (data / "file", data / "file")
    async with watched(kept):
        swap.symlink_to("v2")
        swap.rename(data)
        await until(lambda: len(kept.in_force) > 1)
    assert kept.in_force == ["v1", "v2"]
