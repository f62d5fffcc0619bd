"""The playground: answers side by side, their gates, and lines that ask the same from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from model_store import gate_figures
from tests.page.browsing import Watch
from tests.page.caller import Caller, infer_body
from tests.page.fake_engine import HOSTILE_LABELS
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.handing import hand
from tests.page.samples import DIGITS, EACH, sample

NAMES = ("digits_plain", "digits_se", "digits_sk")
GATED = NAMES[1:]
OPENED = f"playground?models={','.join(NAMES)}&sample=7-0.png"
SHELL = pytest.mark.needs_program("curl", how="apt install curl")
HOSTILE_NAME = "<img src=x onerror=alert(1)> $(touch owned) `touch owned` '; touch owned #\u202e.png"


def card(page: Page, model: str) -> Locator:
    """What one model answers."""
    return page.get_by_role("article", name=model, exact=True)


def gates_of(gateway: FakeGateway, model: str, image: bytes) -> list[np.ndarray[Any, Any]]:
    """What a model's blocks do, [branches, channels] each, as the protocol's own clients get it."""
    with httpx.Client(base_url=gateway.http, trust_env=False) as rest:
        layout = rest.get(f"/v1/models/{model}/versions/1").json()["attention_layout"]
    with Caller.to(gateway.http) as caller:
        asked = json.loads(infer_body(image)) | {"outputs": [{"name": "attention"}]}
        row = np.array(caller.send("POST", f"/v2/models/{model}/infer", asked)["outputs"][0]["data"])
    ends = np.cumsum([block["channels"] * block["branches"] for block in layout])
    columns = np.split(row, ends[:-1])
    return [part.reshape(block["branches"], -1) for part, block in zip(columns, layout, strict=True)]


def test_a_sample_is_answered_and_its_gates_are_drawn(page: Page, gateway: FakeGateway) -> None:
    """Five classes each, who agrees, and for each block the figures of the gates that the gateway gives."""
    page.goto(f"{gateway.http}/#/playground?models={','.join(NAMES)}")
    expect(page.get_by_role("button", name="Sample ")).to_have_count(len(DIGITS) * EACH)
    page.get_by_role("button", name="Sample 7-0.png, label 7").click()
    for model in NAMES:
        expect(card(page, model).get_by_role("listitem")).to_have_count(5)
        expect(card(page, model).get_by_role("meter").first).to_have_accessible_name("Probability of 7")
        expect(card(page, model)).to_contain_text("round trip")
    expect(page.get_by_role("status").filter(has_text="own label is 7")).to_be_visible()
    for column, model in enumerate(GATED):
        for row, gates in enumerate(gates_of(gateway, model, sample("7"))):
            cell = page.get_by_role("row").nth(row + 1).get_by_role("cell").nth(column)
            found = gate_figures.figures(gates)
            expect(cell).to_contain_text(f"{found.entropy:.3f}")
            expect(cell).to_contain_text(" / ".join(f"{mean:.2f}" for mean in _means(found)))
            expect(cell.get_by_role("img")).to_have_accessible_name(
                f"{gates.shape[1]} {'gates' if len(gates) == 1 else 'channels, weights of 2 branches'} "
                f"from {found.minimum:.2f} to {found.maximum:.2f}"
            )
    expect(page.get_by_text("digits_plain has no channel gates.")).to_be_visible()


def _means(found: gate_figures.GateFigures) -> tuple[float, ...]:
    return found.branch_means or (found.mean,)


def test_an_address_shows_the_same_again(page: Page, gateway: FakeGateway) -> None:
    """Models, sample and order stand in it; sorted, the bars fall from left to right."""
    page.goto(f"{gateway.http}/#/{OPENED}")
    page.get_by_label("Sort the channels by their gate").check()
    page.get_by_role("checkbox", name="digits_plain").uncheck()
    expect(card(page, "digits_plain")).to_have_count(0)
    copied = page.url
    page.goto("about:blank")
    page.goto(copied)
    expect(card(page, "digits_sk")).to_contain_text("round trip")
    expect(card(page, "digits_plain")).to_have_count(0)
    expect(page.get_by_label("Sort the channels by their gate")).to_be_checked()
    drawn = page.get_by_role("table").get_by_role("img").nth(1)
    bars = [json.loads(bar) for bar in drawn.evaluate(_BARS)]
    tops = [top for _, top in sorted(bars)]
    expected = sorted(1 - gates_of(gateway, "digits_sk", sample("7"))[0][0])
    assert tops == pytest.approx(expected, abs=1e-6)


# Of the first branch's path: where each channel's bar is, and how far it reaches.
_BARS = r"""(svg) => [...svg.querySelector(".pg-branch-0").getAttribute("d").matchAll(/M(\d+) 1V([^h]+)h/g)]
    .map(([, place, top]) => JSON.stringify([Number(place), Number(top)]))"""


def test_one_failure_leaves_the_others(page: Page, gateway: FakeGateway, watch: Watch) -> None:
    """A model that is not there is told on its own card; a file that none can read, once for all."""
    watch.allow("^answer: 40[04] to POST ")
    page.goto(f"{gateway.http}/#/playground?models=digits_se,nobody&sample=7-0.png")
    expect(card(page, "nobody").get_by_role("alert")).to_contain_text("nobody")
    expect(card(page, "digits_se").get_by_role("listitem").first).to_contain_text("7")
    page.goto(f"{gateway.http}/#/playground?models={','.join(NAMES)}")
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    hand(page, "drop", b"no image", "no.png")
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_text("No answer.", exact=True)).to_have_count(len(NAMES))


def test_what_is_too_large_is_not_sent(page: Page, gateway: FakeGateway) -> None:
    """The file's size and the most that is sent are said; no model is asked."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.goto(f"{gateway.http}/#/playground")
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    page.evaluate("""() => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(32000001)], "huge.png"));
      document.dispatchEvent(new DragEvent("drop", { cancelable: true, dataTransfer: files }));
    }""")
    expect(page.get_by_role("alert")).to_contain_text(
        "“huge.png” has 32 MB; at most 32 MB are sent from here."
    )
    assert "POST" not in asked


def test_a_new_image_cancels_the_questions_about_the_old_one(page: Page, gateway: FakeGateway) -> None:
    """What the first image's answer would have been is never shown."""
    held: list[Route] = []
    page.route("**/infer", lambda route: held.append(route), times=1)  # noqa: PLW0108  it is wrapped
    page.goto(f"{gateway.http}/#/playground?models=digits_se&sample=7-0.png")
    expect(card(page, "digits_se").get_by_role("progressbar")).to_be_visible()
    with page.expect_event("requestfailed") as cancelled:
        page.get_by_role("button", name="Sample 3-0.png").click()
    assert cancelled.value.failure == "net::ERR_ABORTED"
    assert len(held) == 1
    expect(card(page, "digits_se").get_by_role("listitem").first).to_contain_text("3")


def test_random_weights_are_warned_of(page: Page, gateway: FakeGateway) -> None:
    """Where the reply says `untrained`, the card does."""

    def untrained(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "parameters": {"untrained": True}})

    page.route("**/digits_se/infer", untrained)
    page.goto(f"{gateway.http}/#/{OPENED}")
    expect(card(page, "digits_se")).to_contain_text("Its weights are random")
    expect(card(page, "digits_sk")).to_contain_text("round trip")
    expect(page.get_by_text("Its weights are random")).to_have_count(1)


def test_hostile_labels_and_file_names_are_text(start_gateway: StartGateway, page: Page) -> None:
    """They stand there as they were written, and the lines to paste do not have them."""
    gateway = start_gateway(hostile=True)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(f"{gateway.http}/#/playground?models=hostile")
    expect(page.get_by_text("Drop an image here")).to_be_visible()
    hand(page, "drop", sample("1"), HOSTILE_NAME)
    first = card(page, "hostile").get_by_role("listitem").first
    expect(first.get_by_text(HOSTILE_LABELS[1], exact=True)).to_be_visible()
    expect(page.get_by_text(HOSTILE_NAME, exact=True)).to_be_visible()
    for tab in page.get_by_role("tab").all():
        tab.click()
        lines = page.get_by_role("tabpanel").get_by_role("code").or_(page.locator("pre"))
        expect(lines.first).to_contain_text("picture")
        expect(lines.first).not_to_contain_text("owned")
    assert page.locator("[onerror], img[src=x]").count() == 0


def _lines(page: Page, tab: str) -> str:
    page.get_by_role("tab", name=tab, exact=True).click()
    return page.get_by_role("tabpanel").locator("pre").inner_text()


def _pasted(lines: str, folder: Path, *program: str, **more: str) -> str:
    environment = {"PATH": os.environ["PATH"], **more}
    ran = subprocess.run(
        [*program, lines],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@SHELL
def test_the_lines_ask_the_same_from_elsewhere(
    start_gateway: StartGateway, page: Page, watch: Watch, tmp_path: Path
) -> None:
    """With a token in the environment: a shell and a Python get the answers that the page shows."""
    watch.allow("^answer: 401 ")
    gateway = start_gateway(tokens=True)
    secret = gateway.secret("infer")
    page.goto(f"{gateway.http}/#/{OPENED}")
    page.get_by_role("dialog").get_by_label("Token").fill(secret)
    page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    expect(card(page, "digits_sk")).to_contain_text("round trip")
    expect(page.locator(".pg-thumb img").first).to_be_visible()  # samples, too, want the token
    shown = {name: card(page, name).get_by_role("listitem").first.inner_text().split()[0] for name in NAMES}
    lines = {tab: _lines(page, tab) for tab in ("curl", "curl, with gates", "Python")}
    assert all(secret not in text and "ATTNSERVE_TOKEN" in text for text in lines.values())

    short = _pasted(lines["curl"], tmp_path, "sh", "-c", ATTNSERVE_TOKEN=secret)
    assert {told["model_name"]: told["outputs"][1]["data"][0] for told in _documents(short)} == shown
    whole = _pasted(lines["curl, with gates"], tmp_path, "sh", "-c", ATTNSERVE_TOKEN=secret)
    outputs = {
        told["model_name"]: {one["name"]: one for one in told["outputs"]} for told in _documents(whole)
    }
    assert {name: _label(found["probabilities"]["data"][0]) for name, found in outputs.items()} == shown
    assert [name for name, found in outputs.items() if "attention" in found] == list(GATED)
    printed = _pasted(lines["Python"], tmp_path, sys.executable, "-c", ATTNSERVE_TOKEN=secret)
    assert [name for name in NAMES if f":{shown[name]}'" in printed] == list(NAMES)


def _documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _label(said: str) -> str:
    return said.split(":", 2)[2]


def test_an_alias_is_asked_by_its_name(start_gateway: StartGateway, page: Page) -> None:
    """It is added by its name, and the card says which version answered, with its gates."""
    gateway = start_gateway()
    with Caller.to(gateway.http) as caller:
        caller.send("PUT", "/v1/aliases/chosen", {"target": "digits_se:2", "reason": "to be tried"})
    page.goto(f"{gateway.http}/#/playground?models=digits_plain&sample=7-0.png")
    page.get_by_label("Another name").fill("chosen")
    page.get_by_role("button", name="Add").click()
    expect(card(page, "chosen").get_by_role("link")).to_have_text("digits_se version 2")
    expect(page.get_by_role("checkbox", name="chosen")).to_be_checked()
    assert "models=digits_plain%2Cchosen" in page.url


def test_an_alias_of_what_was_never_ready_breaks_nothing(page: Page, gateway: FakeGateway) -> None:
    """Of such a model nothing is known, not even its attention."""

    def changed(route: Route) -> None:
        document = route.fetch().json()
        unknown = dict.fromkeys(("attention", "architecture", "recipe", "trained", "offers_attention"))
        late = {
            **document["models"][0],
            **unknown,
            "name": "late",
            "state": "UNAVAILABLE",
            "aliases": ["soon"],
        }
        route.fulfill(json={"models": [*document["models"], late]})

    page.route("**/v1/models", changed)
    page.route(
        "**/models/soon/infer", lambda route: route.continue_(url=route.request.url.replace("soon", NAMES[0]))
    )
    page.goto(f"{gateway.http}/#/playground?models=soon&sample=7-0.png")
    expect(card(page, "soon")).to_contain_text("unknown attention")
    expect(card(page, "soon")).to_contain_text("round trip")


def test_a_sample_that_was_lost_is_asked_for_again(page: Page, gateway: FakeGateway, watch: Watch) -> None:
    """By a button beside the words that say why it is not there."""
    watch.allow("^failed: GET .*/7-0.png")
    page.route("**/7-0.png", lambda route: route.abort())
    page.goto(f"{gateway.http}/#/playground?models=digits_se&sample=7-0.png")
    alert = page.get_by_role("alert").filter(has_text="does not answer")
    expect(alert).to_be_visible()
    page.unroute("**/7-0.png")
    alert.get_by_role("button", name="Try again").click()
    expect(card(page, "digits_se")).to_contain_text("round trip")
    expect(alert).to_have_count(0)
