"""A whole experiment in the browser, from its design to the winner; with a mouse, and by keyboard alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.demo import Demo
from tests.e2e.stacks import Stack
from tests.page.caller import Caller, drawn, until
from tests.page.gateways import FakeGateway, StartGateway
from tests.page.ways import Keyboard, Mouse, Way

NAME = "journey"
ALIAS = "journey-best"
QUESTION = "Is ECA as good as SE?"
WHY_START, WHY_PROMOTE = "The plan was read", "Fewer parameters, as good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a client sends while somebody looks at the page.

    Attributes:
        known: Images, and what each shows.
        unknown: Images of which nobody has told what they show; the models disagree on some.
    """

    known: Sequence[tuple[bytes, str]]
    unknown: Sequence[bytes]


def test_from_design_to_promotion_on_the_real_stack(page: Page, stack: Stack, demo: Demo) -> None:
    """The demo's nets, real digits, and mixtures of two digits, on which nets disagree."""
    traffic = Traffic(
        known=list(zip(demo.images, demo.labels, strict=True)), unknown=mixtures(demo.images, 60)
    )
    travel(page, Mouse(page), stack.addresses["http"], traffic)


def test_the_same_by_keyboard_alone(page: Page, start_gateway: StartGateway) -> None:
    """From the list to the promotion without a click; every stop shows that it has the focus."""
    gateway: FakeGateway = start_gateway()
    images = list(drawn(60))
    traffic = Traffic(known=images[:20], unknown=[image for image, _ in images[20:]])
    travel(page, Keyboard(page), gateway.http, traffic)


def travel(page: Page, way: Way, http: str, traffic: Traffic) -> None:
    """Go the whole way."""
    page.goto(f"{http}/#/experiments")
    design(page, way)
    act(page, way, "Start", WHY_START)
    with Caller.to(http) as caller:
        caller.wait_for(NAME, 2)
        send(caller, traffic)
        label_one(page, way)
        promote(page, way)
        until(
            lambda: caller.ask(ALIAS, traffic.unknown[0], "u")["model_name"] == "digits_eca",
            "the alias leads to the winner",
        )
    look_back(page, way)


def design(page: Page, way: Way) -> None:
    """Fill in the form, see what it needs, and make a draft."""
    way.press(page.get_by_role("link", name="New experiment"))
    form = page.get_by_role("form", name="The design")
    way.write(form.get_by_label("Name", exact=True), NAME)
    way.write(form.get_by_label("Description"), QUESTION)
    way.pick(form.get_by_role("radio", name="Paired"))
    for group, model in (("Control", "digits_se version 1"), ("Arm 2", "digits_eca version 1")):
        way.choose(form.get_by_role("group", name=group).get_by_label("Model and version"), model)
    way.press(form.get_by_label("Keep images on which the arms disagree"))
    way.write(form.get_by_label("Alias"), ALIAS)
    way.write(form.get_by_label("Reason"), "To see which is better")
    plan = page.get_by_role("complementary", name="What it would need")
    way.write(plan.get_by_label("Units a day"), "5000")
    expect(plan.get_by_role("term").filter(has_text="Needed sample")).to_be_visible()
    expect(plan.get_by_text("enrolled units a day")).to_be_visible()
    way.press(form.get_by_role("button", name="Create a draft"))
    expect(page.get_by_role("heading", level=1, name=NAME)).to_be_visible()
    assert page.url.endswith(f"#/experiments/{NAME}")


def act(page: Page, way: Way, name: str, reason: str) -> None:
    """Press a button, give a reason, and confirm."""
    way.press(page.get_by_role("button", name=name).first)
    dialog = page.get_by_role("dialog")
    way.write(dialog.get_by_label("Reason"), reason)
    way.press(dialog.get_by_role("button", name=name, exact=True))
    expect(dialog).to_have_count(0)


def send(caller: Caller, traffic: Traffic) -> None:
    """What clients do meanwhile: they send images, and tell what some of them show."""
    count = caller.feed(NAME, traffic.known)
    for number, image in enumerate(traffic.unknown):
        caller.ask(NAME, image, f"somebody-{number}")
    until(lambda: caller.labelled(NAME) == count, "every label has its pair")
    until(lambda: bool(unlabelled(caller)), "the arms disagree on an image that has no label")


def unlabelled(caller: Caller) -> int:
    """Disagreements that wait for a label."""
    return len(caller.get(f"/v1/experiments/{NAME}/disagreements")["disagreements"])


def label_one(page: Page, way: Way) -> None:
    """See an image on which the arms disagree, and say what it shows."""
    page.reload()
    way.pick(page.get_by_role("tab", name="Disagreements"))
    bench = page.get_by_role("group", name="What does this image show?")
    expect(bench.get_by_role("img")).to_be_visible()
    way.press(bench.get_by_role("button").first)
    expect(page.get_by_text("is noted and counts from now on")).to_be_visible()


def promote(page: Page, way: Way) -> None:
    """Let the arm win, though its evidence is thin; the dialog shows which arm."""
    act(page, way, "Promote", WHY_PROMOTE)
    expect(page.get_by_text("Promoted: version")).to_be_visible()


def look_back(page: Page, way: Way) -> None:
    """The history tells who did what and why; among the models the alias points at the winner."""
    way.pick(page.get_by_role("tab", name="History"))
    for told in (WHY_START, WHY_PROMOTE):
        expect(page.get_by_text(told).first).to_be_visible()
    way.press(page.get_by_role("navigation").get_by_role("link", name="Models"))
    expect(page.get_by_role("row").filter(has_text=ALIAS)).to_contain_text("digits_eca")


def mixtures(images: Sequence[bytes], count: int) -> list[bytes]:
    """Pictures of two digits at once, with noise: different nets see different ones."""
    chance = np.random.default_rng(0)
    found = []
    for _ in range(count):
        one, other = (_pixels(images[place]) for place in chance.choice(len(images), 2, replace=False))
        mixed = (one + other) / 2 + chance.normal(0, 30, one.shape)
        file = io.BytesIO()
        Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        found.append(file.getvalue())
    return found


def _pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("L"), np.float64)
