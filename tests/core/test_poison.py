"""Images that ended workers are refused for a while, and only they."""

from __future__ import annotations

from serve.core.messages import Items, Kind, ModelRef
from serve.core.poison import PoisonBook

REF = ModelRef(name="net", version="1")
BAD = Items(kind=Kind.IMAGE, blobs=(b"bad",))


def test_it_is_refused_for_a_while() -> None:
    """Then it may be tried again: the net or the decoder may have been mended."""
    book = PoisonBook(60.0)
    assert not book.any(0.0)
    assert not book.holds(REF, BAD, 0.0)
    book.add(REF, BAD, 10.0)
    assert book.any(10.0)
    assert book.holds(REF, BAD, 69.9)
    assert not book.holds(REF, BAD, 70.0)
    assert not book.any(70.0), "nothing need be looked up any more"


def test_only_the_same_image_is_refused() -> None:
    """The same bytes given as another kind are another image, and another version may bear the same one."""
    book = PoisonBook(60.0)
    book.add(REF, BAD, 0.0)
    assert not book.holds(REF, Items(kind=Kind.IMAGE, blobs=(b"good",)), 1.0)
    assert not book.holds(REF, Items(kind=Kind.PIXELS, blobs=(b"bad",), shape=(1, 1, 1, 3)), 1.0)
    assert not book.holds(ModelRef(name="net", version="2"), BAD, 1.0)


def test_the_book_is_bounded() -> None:
    """Whoever sends ever new ones does not fill the memory; the latest are kept."""
    book = PoisonBook(60.0)
    images = [Items(kind=Kind.IMAGE, blobs=(str(number).encode(),)) for number in range(3000)]
    for image in images:
        book.add(REF, image, 0.0)
    held = [book.holds(REF, image, 1.0) for image in images]
    assert held == [False] * (3000 - 1024) + [True] * 1024
