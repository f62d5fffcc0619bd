"""Rules of accessibility, judged by axe-core on a page as it stands."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# WCAG 2.0 to 2.2, levels A and AA, and axe-core's own good practice.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def axe(page: Page, within: str | None = None) -> list[str]:
    """What breaks a rule: which, why it matters, and in which element.

    Args:
        page: As it stands now.
        within: CSS selector of the part that is judged; without it, all of the page.
    """
    # Playwright's scripts are the debugger's, which no content security policy of the page stops.
    results = Axe().run(page, within, options={"runOnly": list(TAGS)})
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n"
        f"  {node['html']}\n  {node['failureSummary']}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]
