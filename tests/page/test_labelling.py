"""Labels that are told in a browser: by key or by name, beside the image; and files that are saved there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.axe import axe
from tests.page.browsing import Watch
from tests.page.caller import Caller, Json, drawn, until
from tests.page.gateways import FakeGateway

LABELS_TO_COME = 40


@pytest.fixture(scope="module")
def contested(gateway: FakeGateway) -> Iterator[tuple[Caller, str]]:
    """An experiment of which at least three disagreements wait for a label."""
    with Caller.to(gateway.http) as caller:
        name = caller.experiment("contested", images=drawn(20))
        for number, (image, _) in enumerate(islice(drawn(20 + LABELS_TO_COME), 20, None)):
            caller.ask(name, image, f"later-{number}")
        until(lambda: len(waiting(caller, name)) >= 3, "three disagreements wait for a label")
        yield caller, name


def waiting(caller: Caller, name: str) -> list[Json]:
    """Disagreements without a label."""
    found: list[Json] = caller.get(f"/v1/experiments/{name}/disagreements?unlabelled=true")["disagreements"]
    return found


def test_no_label_is_lost_told_twice_or_told_by_accident(
    page: Page, gateway: FakeGateway, contested: tuple[Caller, str], watch: Watch
) -> None:
    """After a lost answer it is told again; a wrong one can be corrected; a key held down answers once."""
    watch.allow("^failed: POST .*/labels")
    _, name = contested
    told: list[Json] = []
    receipts = iter(["", "duplicate", "invalid", "accepted", "accepted"])

    def answer(route: Route) -> None:
        told.append(json.loads(route.request.post_data or "")["labels"][0])
        status = next(receipts)
        receipt = {"status": status, "message": "said so"}
        route.fulfill(json={"labels": [receipt]}) if status else route.abort()

    page.route("**/labels", answer)
    page.goto(f"{gateway.http}/#/experiments/{name}?tab=disagreements")
    bench = page.get_by_role("group", name="What does this image show?")
    bench.focus()
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
    page.keyboard.press("1")
    expect(page.get_by_text("was noted before, and counts.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.keyboard.press("1")
    expect(page.get_by_text("is not noted: said so.")).to_be_visible()
    page.keyboard.down("1")
    expect(page.get_by_text("is noted and counts from now on.")).to_be_visible()
    page.keyboard.down("1")
    page.keyboard.up("1")
    page.keyboard.press("s")
    expect(page.get_by_text("left to label. Skipped.")).to_be_visible()
    assert [one["prediction"] for one in told] == [told[place]["prediction"] for place in (0, 0, 2, 2)]


def test_labels_are_told_by_key_and_by_name(
    page: Page, gateway: FakeGateway, contested: tuple[Caller, str]
) -> None:
    """A key chooses an arm's answer, a name another class; both are kept, and the rest is counted."""
    caller, name = contested
    first, second, *rest = waiting(caller, name)
    page.goto(f"{gateway.http}/#/experiments/{name}?tab=disagreements")
    bench = page.get_by_role("group", name="What does this image show?")
    expect(bench.get_by_role("img")).to_be_visible()
    assert bench.get_by_role("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 32
    assert axe(page) == []
    bench.focus()
    page.keyboard.press("1")
    answer = next(iter(first["answers"].values()))["label"]
    expect(page.get_by_text(f"“{answer}” is noted and counts from now on.")).to_be_visible()
    expect(bench).to_be_focused()
    other = next(digit for digit in "0123456789" if digit not in _labels(second))
    bench.get_by_label("Something else").fill("eleven")
    bench.get_by_role("button", name="Label it so").click()
    expect(bench.get_by_text("“eleven” is none of the 10 classes")).to_be_visible()
    bench.get_by_label("Something else").fill(other)
    bench.get_by_role("button", name="Label it so").click()
    expect(page.get_by_text(f"{len(rest)} left to label. “{other}” is noted")).to_be_visible()
    page.keyboard.press("s")
    expect(page.get_by_text(f"{len(rest)} left to label. Skipped.")).to_be_visible()
    told = {row["prediction"]: row["label"] for row in _all(caller, name)}
    assert (told[first["prediction"]], told[second["prediction"]]) == (answer, other)


def _labels(row: Json) -> set[str]:
    return {said["label"] for said in row["answers"].values()}


def _all(caller: Caller, name: str) -> list[Json]:
    found: list[Json] = caller.get(f"/v1/experiments/{name}/disagreements")["disagreements"]
    return found


def test_a_kept_file_that_is_no_image_is_not_shown(
    page: Page, gateway: FakeGateway, contested: tuple[Caller, str]
) -> None:
    """Its first bytes decide, whatever it was sent as: a picture made of script stays a file."""
    _, name = contested

    def answer(route: Route) -> None:
        route.fulfill(
            body="<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", content_type="image/png"
        )

    page.route("**/images/**", answer)
    page.goto(f"{gateway.http}/#/experiments/{name}?tab=disagreements")
    bench = page.get_by_role("group", name="What does this image show?")
    expect(bench.get_by_text("This file is no JPEG, PNG, WebP, BMP or GIF; it is not shown.")).to_be_visible()
    expect(page.get_by_role("tabpanel").get_by_role("img")).to_have_count(0)


def test_files_are_saved_with_the_token(
    page: Page, gateway: FakeGateway, contested: tuple[Caller, str]
) -> None:
    """The disagreements as a table: what the browser keeps is what the gateway answers to that token."""
    caller, name = contested
    asked: list[str] = []
    page.add_init_script("sessionStorage.setItem('attnserve-token', 'a-token-of-the-tests')")
    page.on("request", lambda request: asked.append(request.headers.get("authorization", "")))
    page.goto(f"{gateway.http}/#/experiments/{name}?tab=disagreements")
    asked.clear()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save them all (CSV)").click()
    saved = saving.value
    assert saved.suggested_filename == f"{name}-disagreements.csv"
    assert saved.path().read_bytes() == caller.rest.get(f"/v1/experiments/{name}/disagreements.csv").content
    assert "Bearer a-token-of-the-tests" in asked
    assert "a-token-of-the-tests" not in page.url
