"""The page of a load test's report in front of a real browser, and its picture."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtests.example_report import photograph
from loadtests.report.page import page
from tests.loadtests.made_report import made

pytestmark = [pytest.mark.slow, pytest.mark.needs_program("chromium", how="apt install chromium")]

MEASURE = """<script>
for (const drawing of document.querySelectorAll("figure svg")) {
  const box = drawing.getBoundingClientRect();
  drawing.setAttribute("data-box", `${box.width}x${box.height}`);
}
document.body.setAttribute("data-wide", document.documentElement.scrollWidth);
</script></body>"""


@pytest.fixture(scope="module")
def drawn() -> str:
    """The page of a report with everything in it, drawn once."""
    return page(made())


def test_chromium_shows_the_page_without_a_complaint(drawn: str, tmp_path: Path) -> None:
    """The page's policy forbids nothing that the page does; the badge has its colour."""
    said = opened(drawn, tmp_path, f"--screenshot={tmp_path / 'page.png'}")
    assert "CONSOLE" not in said.stderr
    with Image.open(tmp_path / "page.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or ()}
    assert (0xA3, 0x23, 0x1B) in colours


def test_chromium_would_complain(drawn: str, tmp_path: Path) -> None:
    """The test above can fail: a forbidden script and a forbidden style are both reported."""
    told = drawn.replace("<h1>", '<h1 style="color:red">').replace("</body>", MEASURE)
    assert opened(told, tmp_path, "--dump-dom").stderr.count("CONSOLE") >= 2


@pytest.mark.parametrize("width", [1100, 400])
def test_every_drawing_has_a_size_and_the_page_no_overhang(drawn: str, tmp_path: Path, width: int) -> None:
    """On a wide screen and on a narrow one, where drawings and tables scroll by themselves."""
    unlocked = re.sub(r"<meta http-equiv.*?>", "", drawn).replace("</body>", MEASURE)
    found = opened(unlocked, tmp_path, "--dump-dom", width=width).stdout
    boxes = [tuple(map(float, box.split("x"))) for box in re.findall(r'data-box="([^"]+)"', found)]
    assert len(boxes) == drawn.count("<figure>")
    assert all(wide > 300 and high > 60 for wide, high in boxes)
    assert int(re.findall(r'data-wide="(\d+)"', found)[0]) <= max(width, 500)  # no window is narrower
    for text in (
        "Worse than the baseline",
        "Load that was carried",
        "digits_eca",
        "hidden from a closed loop",
    ):
        assert text in found


def test_the_picture_of_a_run_that_was_made_is_taken(tmp_path: Path) -> None:
    """`make loadtest-picture` does this with a run of its own; a folder without a run is named."""
    (tmp_path / "report.json").write_text(made().to_json(), "utf-8")
    done = take(tmp_path, tmp_path / "example.png")
    assert done.returncode == 0, done.stderr
    photograph(page(made()), tmp_path / "same.png")
    with Image.open(tmp_path / "example.png") as picture, Image.open(tmp_path / "same.png") as same:
        assert picture.width == 1100
        assert picture.size == same.size
        # A busy Chromium smooths an edge here or there in another way.
        differing = np.any(np.asarray(picture) != np.asarray(same), axis=-1).mean()
        assert differing < 0.01
    refused = take(tmp_path / "none", tmp_path / "none.png")
    assert refused.returncode == 1
    assert refused.stderr.startswith("--report:")
    assert "none" in refused.stderr


def take(report: Path, picture: Path) -> subprocess.CompletedProcess[str]:
    """Run the command for the picture."""
    command = [sys.executable, "-m", "loadtests.report.example"]
    options = ["--report", str(report), "--picture", str(picture)]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)


def opened(text: str, folder: Path, wanted: str, width: int = 1100) -> subprocess.CompletedProcess[str]:
    """What Chromium says when it opens a page."""
    (folder / "page.html").write_text(text, "utf-8")
    return subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", f"--window-size={width},1200"),
            *(f"--user-data-dir={folder / 'profile'}", wanted),
            (folder / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
