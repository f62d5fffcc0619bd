"""The part of the configuration that is about the page."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from serve.sections import Section, UsablePath


def _page_url(text: str) -> str:
    try:
        found = urlsplit(text)
        usable = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    # The value may hold a password, which every reader of the page would be shown.
    if not usable or "@" in found.netloc or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be http://HOST/PATH or https://HOST/PATH, without blanks, user or password")
    return text


PageUrl = Annotated[str, AfterValidator(lambda text: text and _page_url(text))]


class PageConfig(Section):
    """What the page at `/` shows beside the models and experiments."""

    samples: UsablePath | None = Field(
        default=None,
        description="Folder of images to try, LABEL-ANYTHING; empty: none, or the one of `serve --tour`.",
    )
    grafana_url: PageUrl = Field(
        default="", description="Where the page links to for dashboards, http:// or https://; empty: nowhere."
    )
