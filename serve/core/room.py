"""The bytes of all requests that are being received or answered: counted, bounded, given back. Pure.

A request takes room as its bytes arrive, never on the word of its sender: a caller that announces much and
sends nothing takes nothing from the others.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from serve.core.errors import OverloadedError


class Room:
    """How many bytes may be held at the same time, and how many are.

    Attributes:
        most: The bound, bytes.
        taken: What all shares hold now, bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @property
    def free(self) -> int:
        """Bytes that can still be taken."""
        return self.most - self.taken

    def share(self) -> Share:
        """One request's part, still empty; use it as a context manager, whose end gives it back."""
        return Share(self)


class Share:
    """What one request holds of a `Room`.

    Attributes:
        size: Bytes that it holds.
    """

    __slots__ = ("_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def check(self, size: int, *, leave: int = 0) -> None:
        """See whether so many bytes more would fit and leave so many free; take none of them.

        Raises:
            OverloadedError: They would not.
        """
        if size > self._room.free - leave:
            raise OverloadedError(
                f"the server holds {self._room.taken} bytes of requests and has no room for {size} more; "
                f"at most {self._room.most} are held at a time"
            )

    def take(self, size: int, *, leave: int = 0) -> None:
        """Take so many bytes more, where so many stay free.

        Raises:
            OverloadedError: There is no room for them; what the share held, it keeps.
        """
        self.check(size, leave=leave)
        self._room.taken += size
        self.size += size

    def give_back(self, size: int) -> None:
        """Return some of what it holds."""
        self._room.taken -= size
        self.size -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back(self.size)
