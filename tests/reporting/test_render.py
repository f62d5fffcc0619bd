"""Drawing in a process of its own, and in front of a real browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loadtests.example_report import photograph
from serve.core.errors import DeadlineError, InternalError, UnsupportedError
from serve.reporting import render as rendering
from serve.reporting.render import render

CHROMIUM = pytest.mark.needs_program("chromium", how="apt install chromium")


async def test_the_program_draws_what_the_page_is(full: dict[str, Any], drawn: str) -> None:
    """Another process gives the same bytes, so nothing in a page depends on when or where it is drawn."""
    assert await render(full, timeout_s=60) == drawn.encode()


async def test_a_missing_library_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to search for how to get the page."""
    monkeypatch.setattr(rendering, "find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(
        UnsupportedError, match=r"matplotlib not installed here; `pip install 'attnserve\[report\]'`"
    ):
        await render({}, timeout_s=60)


async def test_a_late_drawing_is_given_up() -> None:
    """The caller gets its error in time."""
    with pytest.raises(DeadlineError, match=r"not drawn within 0.05 s"):
        await render({}, timeout_s=0.05)


async def test_a_failing_program_tells_the_caller_nothing_internal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said is for the log."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(InternalError, match=r"^the report could not be drawn$"):
        await render({}, timeout_s=60)


@CHROMIUM
def test_chromium_shows_the_page_without_a_complaint(drawn: str, tmp_path: Path) -> None:
    """The policy of the page forbids nothing that the page does; the picture shows the verdict's badge."""
    said = opened(drawn, tmp_path)
    assert "CONSOLE" not in said
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1000, 1200)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or ()}
    assert (0x0F, 0x6B, 0x3F) in colours
    assert len(colours) > 50


@pytest.mark.slow
@CHROMIUM
def test_chromium_would_complain(drawn: str, tmp_path: Path) -> None:
    """The test above can fail: a forbidden style is reported, and so is anything from outside."""
    said = opened(drawn.replace("<h1>", '<img src="http://127.0.0.1:9/"><h1 style="color:red">'), tmp_path)
    assert said.count("CONSOLE") >= 2


@pytest.mark.slow
@CHROMIUM
def test_the_picture_for_the_readme_is_made(drawn: str, tmp_path: Path) -> None:
    """`make report-picture` does this with the whole example, which says that it is simulated."""
    assert "SIMULATED DATA" in drawn
    photograph(drawn, tmp_path / "example.png")
    with Image.open(tmp_path / "example.png") as picture:
        assert picture.width == 1100


def opened(text: str, folder: Path) -> str:
    """What Chromium says when it opens a page; the picture of it is `page.png`."""
    (folder / "page.html").write_text(text, "utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--window-size=1000,1200", f"--user-data-dir={folder / 'profile'}"),
            f"--screenshot={folder / 'page.png'}",
            (folder / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr
