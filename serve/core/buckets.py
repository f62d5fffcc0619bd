"""The hash that places text in one of `WHOLE` buckets, and what is asked of it.

::

    u      = first 8 bytes, big-endian, of SHA-256(utf8(f"{bytes of salt}:{salt}|{text}"))
    bucket = floor(u * 10000 / 2**64)

The length of the salt, in bytes of UTF-8, keeps salt and text apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from serve.core.errors import InvalidRequestError
from serve.core.experiment import WHOLE, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to a hash, and its answer for one text.

    Attributes:
        question: What is asked, in a word: "holdout", "slot", "ramp" or "arm".
        salt: Of its hash.
        bucket: Where the text falls, 0..WHOLE-1.
        start: First bucket for which the answer is yes; of an arm's range that holds the bucket.
        stop: First one after it for which it is no.
        passed: Whether the answer is yes.
    """

    question: str
    salt: str
    bucket: int
    start: int
    stop: int
    passed: bool


def bucket(salt: str, text: str) -> int:
    """Place text in one of the buckets 0..WHOLE-1.

    Raises:
        InvalidRequestError: The text has no UTF-8.
    """
    return _bucket(_prefix(salt), encode(text))


def encode(unit: str) -> bytes:
    """A unit's UTF-8.

    Raises:
        InvalidRequestError: It has none, because it holds half of a surrogate pair: other programs could
            not agree on its bucket.
    """
    try:
        return unit.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"unit: {unit[:80]!r} has no UTF-8: character {error.start} is half of a surrogate pair"
        ) from None


class Gate:
    """Lets text through whose bucket is in start..stop-1."""

    __slots__ = ("_known", "_prefix", "_question", "_salt", "_start", "_stop")

    def __init__(self, question: str, salt: str, start: int, stop: int) -> None:
        self._question, self._salt, self._start, self._stop = question, salt, start, stop
        self._prefix = _prefix(salt)
        # Where all buckets pass, or none, there is nothing to hash.
        self._known = None if 0 < stop - start < WHOLE else stop > start

    def lets(self, data: bytes) -> bool:
        """Whether text, as UTF-8, passes."""
        if self._known is not None:
            return self._known
        return self._start <= _bucket(self._prefix, data) < self._stop

    def check(self, data: bytes) -> Check:
        """The same in numbers."""
        return Check(
            question=self._question,
            salt=self._salt,
            bucket=_bucket(self._prefix, data),
            start=self._start,
            stop=self._stop,
            passed=self.lets(data),
        )


class Table:
    """Which arm text belongs to, by ranges that cover all buckets."""

    __slots__ = ("_only", "_prefix", "_ranges", "_salt", "_starts")

    def __init__(self, salt: str, ranges: Sequence[Range]) -> None:
        self._salt, self._prefix = salt, _prefix(salt)
        self._ranges = tuple(ranges)
        self._starts = [piece.start for piece in ranges]
        self._only = ranges[0].arm if len(ranges) == 1 else None

    def arm_of(self, data: bytes) -> int:
        """Index of the arm for text as UTF-8."""
        return self.range_of(_bucket(self._prefix, data)).arm if self._only is None else self._only

    def range_of(self, place: int) -> Range:
        """The range that holds a bucket."""
        return self._ranges[bisect_right(self._starts, place) - 1]

    def check(self, data: bytes) -> Check:
        """Where text falls, in numbers."""
        place = _bucket(self._prefix, data)
        held = self.range_of(place)
        return Check(
            question="arm", salt=self._salt, bucket=place, start=held.start, stop=held.stop, passed=True
        )


def _prefix(salt: str) -> bytes:
    data = salt.encode()
    return b"%d:%b|" % (len(data), data)


def _bucket(prefix: bytes, data: bytes) -> int:
    return int.from_bytes(sha256(prefix + data).digest()[:8]) * WHOLE >> 64
