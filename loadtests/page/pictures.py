"""`python -m loadtests.page.pictures`: the pictures of the page that README shows.

A gateway with the demo's four nets in its TorchServe, real digits sent to it all the while, and beside that
one experiment whose traffic is simulated, and which says so: between the demo's nets there is no difference
that could be seen.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from playwright.sync_api import Browser, Error, ViewportSize, expect

from loadtests.console import wide
from loadtests.page.chromium import BrowserError, chromium
from loadtests.page.live_cost import light_load
from loadtests.page.shrink import shrunk
from loadtests.page.stores import write_simulated
from loadtests.stack import StackError, end_in_order, running_stack
from tests.page.caller import Caller, infer_body

FOLDER: Final = Path(__file__).parents[2] / "serve/edge/pictures"
SAMPLES: Final = Path("run/samples")
WIDTH: Final = 1280
PATIENCE_MS: Final = 30_000
MODELS: Final = "digits_plain,digits_se,digits_eca,digits_sk"
TRIAL: Final = "digits-se-vs-eca"
# What is sent while pictures are taken, and from which part of the time before them on: enough to see, far
# from what the nets can do.
LOADS: Final = (
    ("digits_se", 0.0),
    ("digits_eca", 0.0),
    (TRIAL, 0.0),
    ("digits_sk", 0.35),
    ("digits_se", 0.6),
    ("digits_plain", 0.6),
    ("digits_se", 0.6),
)
RATE: Final = 12.0  # requests a second, of each
LOAD_S: Final = 180.0

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A picture.

    Attributes:
        name: Of its file, without the ending.
        view: The fragment of its address; {simulated} stands for that experiment's name.
        text: What must stand in it.
        height: In pixels.
    """

    name: str
    view: str
    text: str
    height: int = 800
    theme: Literal["light", "dark"] = "light"


# Of the samples, 8-2.png is the one on which the nets are the least sure.
SHOTS: Final = (
    Shot(name="playground", view=f"playground?models={MODELS}&sample=8-2.png", text="digits_sk", height=1160),
    Shot(name="models", view="models", text="digits_se"),
    Shot(name="report", view="experiments/{simulated}", text="SIMULATED DATA", height=1500),
    Shot(name="live-dark", view="live", text="digits_eca", height=1000, theme="dark"),
)


def main(
    *,
    folder: Annotated[Path, typer.Option(help="Write them here.", metavar="FOLDER")] = FOLDER,
    samples: Annotated[Path, typer.Option(help="Images LABEL-N.png that the demo was built with.")] = SAMPLES,
    store: Annotated[Path, typer.Option(help="The demo's archives.")] = Path("model_store/archives"),
    load_s: Annotated[float, typer.Option(help="Seconds of load before the live view.", min=0)] = LOAD_S,
) -> None:
    """Take the pictures. Takes about four minutes; needs the demo's archives and chromium."""
    end_in_order()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            _gateway(samples, store) as (http, simulated),
            chromium() as browser,
            console.status(f"{load_s:.0f} s of load, so that the live view has something to show"),
            _load(http, samples, load_s),
        ):
            for shot in SHOTS:
                path = folder / f"{shot.name}.png"
                path.write_bytes(shrunk(_taken(browser, http, shot, simulated)))
                console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB", soft_wrap=True)
    except (BrowserError, StackError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


@contextmanager
def _gateway(samples: Path, store: Path) -> Iterator[tuple[str, str]]:
    """Its address, and the name of its simulated experiment; the other one has the samples and their labels.

    Raises:
        StackError: It did not start, or did not end as it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/experiments.db"
        simulated = write_simulated(url, time.time())
        settings = {
            "ATTNSERVE_MODEL_STORE": str(store.absolute()),
            "ATTNSERVE_EXPERIMENTS_STORE_URL": url,
            "ATTNSERVE_PAGE_SAMPLES": str(samples.absolute()),
        }
        with running_stack(Path(folder) / "run", settings) as stack:
            with Caller.to(stack.target.http) as caller:
                images = [
                    (file.read_bytes(), file.name.partition("-")[0]) for file in sorted(samples.iterdir())
                ]
                caller.experiment(TRIAL, images)
            yield stack.target.http, simulated


@contextmanager
def _load(http: str, samples: Path, load_s: float) -> Iterator[None]:
    """Let one load after the other begin, in so many seconds; all go on meanwhile."""
    images = sorted(samples.iterdir())
    begun = time.monotonic()
    with ExitStack() as loads:
        for number, (model, part) in enumerate(LOADS):
            time.sleep(max(0.0, begun + part * load_s - time.monotonic()))
            body = infer_body(images[number % len(images)].read_bytes())
            loads.enter_context(light_load(http, f"/v2/models/{model}/infer", body, RATE))
        time.sleep(max(0.0, begun + load_s - time.monotonic()))
        yield


def _taken(browser: Browser, http: str, shot: Shot, simulated: str) -> bytes:
    """A picture as Chromium gives it.

    Raises:
        BrowserError: What must be in it does not come.
    """
    size: ViewportSize = {"width": WIDTH, "height": shot.height}
    with browser.new_context(
        color_scheme=shot.theme, viewport=size, reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
    ) as context:
        page = context.new_page()
        try:
            page.goto(f"{http}/#/{shot.view.format(simulated=simulated)}")
            expect(page.get_by_text(shot.text).locator("visible=true").first).to_be_visible(
                timeout=PATIENCE_MS
            )
            expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
            page.wait_for_load_state("networkidle")
            return page.screenshot()
        except (AssertionError, Error) as error:
            raise BrowserError(f"{shot.name}: {error}") from None


if __name__ == "__main__":
    typer.run(main)
