"""Names, labels, reasons and descriptions that are written to be taken for markup: shown, never run."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import Watch, settle
from tests.page.caller import Caller, drawn
from tests.page.fake_engine import HOSTILE_LABELS
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.samples import sample

MARKUP = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT = "\"'><script>document.title='owned'</script>"
RIGHT_TO_LEFT = "\u202egnirts desrever\u202c"
LONG = "long " + "y" * 400
NAME = "hostile-texts"
REPORT = f"experiments/{NAME}"
VIEWS = (
    "playground?models=hostile,hostile_too",
    "models",
    "models/hostile/1",
    "experiments",
    "live",
    *(f"{view}{quote(text)}" for view in ("models/", "experiments/", "") for text in (MARKUP, SCRIPT)),
    f"live?model={quote(MARKUP)}",
    f"playground?models={quote(MARKUP)}&sample={quote(SCRIPT)}",
    f"{REPORT}?tab={quote(SCRIPT)}",
)


@pytest.fixture
def hostile(start_gateway: StartGateway, tmp_path: Path) -> FakeGateway:
    """A gateway on which everything that people may name is hostile."""
    folder = tmp_path / "hostile samples"
    folder.mkdir()
    for name in (MARKUP, SCRIPT.replace("/", "\u2215"), "javascript:alert(1)", "&lt;b&gt;"):
        (folder / f"{name}-1.png").write_bytes(sample("7"))
    gateway = start_gateway(hostile=True, page_samples=folder)
    with Caller.to(gateway.http) as caller:
        _experiment(caller)
        caller.send("PUT", "/v1/aliases/chosen", {"target": "hostile", "reason": MARKUP})
    return gateway


def _experiment(caller: Caller) -> None:
    """One whose arms answer with hostile labels, and whose history tells hostile reasons."""
    arms = [
        {"name": "one", "model": "hostile", "version": "1", "weight": 5000},
        {"name": "two", "model": "hostile_too", "version": "1", "weight": 5000},
    ]
    design = {
        "name": NAME,
        "description": f"{MARKUP} {SCRIPT} {RIGHT_TO_LEFT} {LONG}",
        "mode": "paired",
        "arms": arms,
        "keep_images": {"max_images": 50, "days": 1},
    }
    caller.send("POST", "/v1/experiments", {"reason": MARKUP, **design})
    caller.act(NAME, "start", reason=SCRIPT)
    for number, (image, _) in enumerate(drawn(30)):
        caller.ask(NAME, image, f"{MARKUP} {number}")


def test_nothing_of_it_is_run(page: Page, hostile: FakeGateway, watch: Watch) -> None:
    """In every view, and in addresses that somebody else made up: no element, no script, no handler."""
    watch.allow("^answer: 40[04] ")  # there is no model of such a name
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    for view in VIEWS:
        page.goto("about:blank")
        page.goto(f"{hostile.http}/#/{view}")
        settle(page)
        _assert_inert(page)
    page.goto(f"{hostile.http}/#/{REPORT}")
    settle(page)
    for tab in page.get_by_role("tab").all():
        tab.click()
        settle(page)
        _assert_inert(page)


def test_it_is_shown_as_it_was_written(page: Page, hostile: FakeGateway) -> None:
    """A label, a description and a reason stand there, letter by letter."""
    page.goto(f"{hostile.http}/#/{REPORT}")
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    page.goto(f"{hostile.http}/#/models/hostile/1")
    expect(page.get_by_text(HOSTILE_LABELS[0], exact=True).first).to_be_attached()


def _assert_inert(page: Page) -> None:
    made = "img[src='x'], script:not([src]), [onerror], [onmouseover], a[href^='javascript:']"
    assert page.locator(made).count() == 0, page.url
    assert page.title() != "owned"
