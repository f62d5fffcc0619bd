"""What every page has in common: its template's rules, and a style that its policy knows by its hash."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup


def environment(loader: BaseLoader) -> Environment:
    """Templates that escape all texts, and fail on a name that they are not given."""
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def styled(more: str = "") -> dict[str, str]:
    """`style`, that of the reports and whatever a page has beside, and `style_hash` for its policy."""
    style = (files("serve.reporting") / "style.css").read_text("utf-8") + more
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {"style": Markup(style), "style_hash": digest}  # noqa: S704  it is ours
