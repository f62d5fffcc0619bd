"""Reading a page back: its elements, its texts, its drawings."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})


@dataclass(slots=True)
class Parsed:
    """What is in a page.

    Attributes:
        tags: Every element's name, in order.
        attributes: (element, attribute, value), in order.
        texts: Of every element's name, the texts directly in it.
        broken: What is not closed, or closed without having been opened.
    """

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def all_of(self, attribute: str) -> list[str]:
        """The values of that attribute, wherever it is."""
        return [value for _, name, value in self.attributes if name == attribute]

    def text_of(self, tag: str) -> list[str]:
        """The texts directly in elements of that name."""
        return [text for name, text in self.texts if name == tag]

    @property
    def text(self) -> str:
        """All that is shown."""
        return " ".join(text for tag, text in self.texts if tag != "style")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = Parsed()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.tags.append(tag)
        self.found.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.found.broken.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.found.texts.append((self._open[-1], data.strip()))

    def close(self) -> None:
        super().close()
        self.found.broken += self._open


def parsed(page: str) -> Parsed:
    """Read a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.found
