"""Every view, as axe-core judges it: light, dark, and on a narrow screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.page.axe import axe
from tests.page.browsing import NARROW, Theme, settle
from tests.page.gateways import FakeGateway

WIDE: ViewportSize = {"width": 1280, "height": 800}
TALL: ViewportSize = {"width": NARROW, "height": 844}
LOOKS: tuple[tuple[Theme, ViewportSize], ...] = (("light", WIDE), ("dark", WIDE), ("light", TALL))
# Fragments of addresses; {experiment} stands for the name of one with data.
VIEWS = (
    "playground?models=digits_se,digits_eca,digits_sk&sample=7-1.png",
    "models",
    "models/digits_se/1",
    "experiments",
    "experiments/new",
    "experiments/{experiment}",
    "live",
    "nowhere",
)
_OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("view", VIEWS)
def test_no_rule_is_broken(page: Page, gateway: FakeGateway, experiment: str, view: str) -> None:
    """Names, roles, contrast, headings: no violation; and nothing hangs over the page's edge."""
    page.goto(f"{gateway.http}/#/{view.format(experiment=experiment)}")
    assert broken(page) == []


def test_every_tab_of_a_report_keeps_the_rules(page: Page, gateway: FakeGateway, experiment: str) -> None:
    """Each is opened by its button, and is in the address afterwards."""
    page.goto(f"{gateway.http}/#/experiments/{experiment}")
    expect(page.get_by_role("tab").first).to_be_visible()
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert broken(page, "[role=tabpanel]") == [], tab.text_content()
    assert "tab=" in page.url


def broken(page: Page, within: str | None = None) -> list[str]:
    """What is wrong with a view, or with a part of it, in whatever look; empty when nothing is."""
    found: list[str] = []
    for theme, size in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size(size)
        settle(page)
        look = f"{theme}, {size['width']} pixels wide"
        found += [f"{look}: {one}" for one in axe(page, within)]
        if overhang := page.evaluate(_OVERHANG):
            found.append(f"{look}: {overhang} pixels hang over the edge")
    return found
