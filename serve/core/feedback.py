"""Feedback tokens: what was served to whom, signed, so that nobody can vote who was not served.

A token is base64url without padding of::

    1 byte    format, 1
    1 byte    first of SHA-256 of the key, so that the right one of several is tried
    4 bytes   experiment    4 version    4 phase    2 arm    8 time of issue in Unix seconds
    16 bytes  prediction    16 unit
    4 bytes   an image: 2 top-1 class, 2 confidence in 1/10 000, or 65535 where it was not answered
    16 bytes  the first of HMAC-SHA256 of all before

Numbers are big-endian and unsigned. The reader does not judge the age: the caller does, by `issued_at`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from functools import lru_cache

from serve.core.errors import InvalidRequestError
from serve.core.record import Said, Ticket

FORMAT = 1
TAG_BYTES = 16
LEAST_KEY_BYTES = 16
NOT_ANSWERED = 0xFFFF  # above every confidence, which is 10 000 at most

_HEAD = struct.Struct(">BBIIIHQ16s16s")
_ANSWER = struct.Struct(">HH")
# No text begins with this byte in UTF-8, so no unit's hash is a token's tag, even under the same key.
_DOMAIN = b"\xff"


class UnknownTokenError(InvalidRequestError):
    """A feedback token that this gateway did not sign, or not with a key that is still valid."""


class FeedbackKeys:
    """Signs with the newest key and reads with all of them, so that keys can be changed without a gap."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Keep the keys.

        Args:
            keys: Secrets of at least 16 bytes; the first one signs.

        Raises:
            ValueError: There is none, or one is too short.
        """
        if not keys or min(map(len, keys)) < LEAST_KEY_BYTES:
            raise ValueError(
                f"keys: {len(keys)} given; needs at least one, each of {LEAST_KEY_BYTES} bytes or more"
            )
        self._keys = tuple((_fingerprint(key), key) for key in keys)

    def sign(self, ticket: Ticket) -> str:
        """The token of a ticket.

        Args:
            ticket: Its numbers fit the format; prediction and unit are 32 lower-case hexadecimal digits.
        """
        fingerprint, key = self._keys[0]
        body = _HEAD.pack(
            FORMAT,
            fingerprint,
            ticket.experiment,
            ticket.version,
            ticket.phase,
            ticket.arm,
            ticket.issued_at,
            bytes.fromhex(ticket.prediction),
            bytes.fromhex(ticket.unit),
        ) + b"".join(map(_packed, ticket.answers))
        return _text(body + _tag(key, body))

    def read(self, token: str) -> Ticket:
        """The ticket of a token, whatever its age.

        Raises:
            UnknownTokenError: It was not signed with one of these keys, or was changed since.
        """
        data = _bytes(token)
        body, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        if len(body) < _HEAD.size or body[0] != FORMAT or not self._signed(body, tag):
            raise _unknown()
        return _ticket(body)

    def _signed(self, body: bytes, tag: bytes) -> bool:
        keys = [key for fingerprint, key in self._keys if fingerprint == body[1]]
        return any(hmac.compare_digest(_tag(key, body), tag) for key in keys)


def unit_hash(key: bytes, unit: str) -> str:
    """The name under which a unit is stored: HMAC-SHA256 of its UTF-8, the first 32 hexadecimal digits.

    Args:
        key: A secret; units cannot be guessed without it.
        unit: Text that `serve.core.assignment` accepts.
    """
    return _hmac(key, unit.encode())[:16].hex()


def _fingerprint(key: bytes) -> int:
    return hashlib.sha256(key).digest()[0]


def _tag(key: bytes, body: bytes) -> bytes:
    return _hmac(key, _DOMAIN + body)[:TAG_BYTES]


def _hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256.

    `hmac.digest` would let other threads run meanwhile, each time: beside a busy one, for milliseconds.
    """
    begun = _begun(key).copy()
    begun.update(data)
    return begun.digest()


@lru_cache(maxsize=8)
def _begun(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _packed(said: Said | None) -> bytes:
    return _ANSWER.pack(0, NOT_ANSWERED) if said is None else _ANSWER.pack(said.top1, said.confidence)


def _ticket(body: bytes) -> Ticket:
    _, _, experiment, version, phase, arm, issued_at, prediction, unit = _HEAD.unpack_from(body)
    said = _ANSWER.iter_unpack(body[_HEAD.size :])
    return Ticket(
        experiment=experiment,
        version=version,
        phase=phase,
        prediction=prediction.hex(),
        unit=unit.hex(),
        arm=arm,
        issued_at=issued_at,
        answers=tuple(None if c == NOT_ANSWERED else Said(top1=top1, confidence=c) for top1, c in said),
    )


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(token: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raise _unknown() from None
    # The decoder overlooks foreign characters and the spare bits of the last one: one ticket, one token.
    if _text(data) != token:
        raise _unknown()
    return data


def _unknown() -> UnknownTokenError:
    return UnknownTokenError(
        "feedback_token: was not signed by this service, or not with a key that is valid now"
    )
