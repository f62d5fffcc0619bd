"""Drawings as SVG inside the page: no script, no style, nothing from outside, the same every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, LINE, PAPER = "#1c2430", "#55606e", "#d8dee6", "#ffffff"
# The control, then the arms: told apart by the dashes as well, for whoever prints in grey.
COLOURS = ("#4a5565", "#0b5cad", "#b4470b", "#0f7a52", "#7a3aa8", "#a3195b", "#6b5b00", "#00707d")
DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (6, 1.5),
    (1.5, 1.5),
    (8, 2, 1.5, 2),
    (4, 2),
    (1, 3),
    (10, 3),
    (3, 1),
)
WIDTH = 9.0
MOST_POINTS = 400

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "grid.color": "#e8ecf1",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": True,
    "svg.fonttype": "none",  # text stays text, in the page's fonts
    "svg.hashsalt": "attnserve",
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a label is a dollar
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_REFERENCE = re.compile(r"#([\w-]+)")
# What the page's own style says of every drawing.
_FROM_PAGE = {"font", "font-family", "stroke-linecap", "stroke-linejoin"}

Drawn = TypeVar("Drawn")


@contextmanager
def canvas(height: float) -> Iterator[Figure]:
    """A figure as wide as the page and of that height (inches); draw and `inline` it inside."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        # The reader's browser has fonts for more scripts than the ones that texts are measured with.
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|Matplotlib currently does not support)")
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def colour(arm: int) -> str:
    """Of the arm with that index; 0 is the control."""
    return COLOURS[arm % len(COLOURS)]


def dashes(arm: int) -> tuple[float, tuple[float, ...] | None]:
    """The line style of the arm with that index."""
    return (0, DASHES[arm % len(DASHES)] or None)


def grid(axes: Axes, axis: str = "y") -> None:
    """Faint lines along the values of that axis ("x", "y" or "both")."""
    axes.grid(visible=True, axis=axis)  # type: ignore[arg-type]
    axes.tick_params(which="minor", length=0)


def thinned(points: Sequence[Drawn], most: int = MOST_POINTS) -> Sequence[Drawn]:
    """At most so many of the points, evenly, with the first and the last."""
    if len(points) <= most:
        return points
    step = (len(points) - 1) / (most - 1)
    return [points[round(place * step)] for place in range(most)]


def inline(figure: Figure, *, name: str, title: str, description: str) -> Markup:
    """The figure as an element of the page.

    Args:
        figure: What was drawn.
        name: Letters that begin every id of it; no other drawing of the page has the same.
        title: What it shows.
        description: What can be seen in it, for whoever cannot.
    """
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=_NO_METADATA)
    drawn = ET.fromstring(written.getvalue())  # noqa: S314  it was written in the line before
    root = _plain(drawn)
    _rename(root, name)
    root.attrib = {"viewBox": root.get("viewBox", ""), "role": "img"}
    root.set("aria-labelledby", f"{name}-title {name}-text")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag, {"id": f"{name}-{'text' if place else 'title'}"})
        element.text = text
        root.insert(place, element)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  ElementTree has escaped every text


def _plain(element: ET.Element) -> ET.Element:
    """A copy without name spaces, metadata and style sheets, and with attributes in place of styles."""
    copy = ET.Element(_local(element.tag))
    for key, value in element.attrib.items():
        if _local(key) == "style":
            _unfold(copy, value)
        else:
            copy.set(_local(key), value)
    copy.text, copy.tail = element.text, None
    for child in element:
        if _local(child.tag) not in {"metadata", "style"}:
            copy.append(_plain(child))
    if len(copy) or not (copy.text or "").strip():
        copy.text = None
    return copy


def _unfold(element: ET.Element, style: str) -> None:
    for part in style.split(";"):
        key, _, value = (text.strip() for text in part.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            weight = re.match(r"(bold|[5-9]00)\b", value)
            if size:
                element.set("font-size", size[1])
            if weight:
                element.set("font-weight", weight[1])
        elif key and key not in _FROM_PAGE:
            element.set(key, value)


def _rename(root: ET.Element, name: str) -> None:
    """Give the ids that something refers to new names, and take away the others."""
    used = dict.fromkeys(
        found
        for element in root.iter()
        for value in element.attrib.values()
        for found in _REFERENCE.findall(value)
    )
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    names = {old: f"{name}-{number}" for number, old in enumerate(old for old in used if old in ids)}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                del element.attrib[key]
                if value in names:
                    element.set(key, names[value])
            elif "#" in value:
                element.set(key, _REFERENCE.sub(lambda found: "#" + names.get(found[1], found[1]), value))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
