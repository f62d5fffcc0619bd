"""Feedback tokens: what is signed is read, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import InvalidRequestError
from serve.core.feedback import FeedbackKeys, UnknownTokenError, unit_hash
from serve.core.record import SCALE, Said, Ticket

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
KEYS = FeedbackKeys((NEW,))
CHARACTERS = string.ascii_letters + string.digits + "-_"

numbers = st.integers(0, 2**32 - 1)
hashes = st.binary(min_size=16, max_size=16).map(bytes.hex)
said = st.builds(Said, top1=st.integers(0, 65_535), confidence=st.integers(0, SCALE))
tickets = st.builds(
    Ticket,
    experiment=numbers,
    version=numbers,
    phase=numbers,
    prediction=hashes,
    unit=hashes,
    arm=st.integers(0, 9),
    issued_at=st.integers(0, 2**40),
    answers=st.lists(st.none() | said, max_size=128).map(tuple),
)


def a_ticket(images: int = 1) -> Ticket:
    """One of an ordinary request."""
    return Ticket(
        experiment=1,
        version=2,
        phase=0,
        prediction="0f" * 16,
        unit="a5" * 16,
        arm=1,
        issued_at=1_700_000_000,
        answers=(Said(top1=7, confidence=9_876),) * images,
    )


TOKEN = KEYS.sign(a_ticket())


@given(tickets)
def test_what_is_signed_is_read(ticket: Ticket) -> None:
    """Any ticket comes back whole, also with images that were not answered, and with no images."""
    token = KEYS.sign(ticket)
    assert set(token) <= set(CHARACTERS)
    assert KEYS.read(token) == ticket


def test_a_token_is_short() -> None:
    """Of one image at most 128 characters, of 128 images below a thousand."""
    assert len(KEYS.sign(a_ticket())) <= 128
    assert len(KEYS.sign(a_ticket(128))) < 1000


def test_every_flipped_bit_is_seen() -> None:
    """Not one of the bits of a token's bytes can change."""
    data = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        _check_unknown(base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode())


def test_every_changed_character_is_seen() -> None:
    """Nor one of its characters: the last one's spare bits, which decoding overlooks, neither."""
    for place, character in enumerate(TOKEN):
        for other in {*CHARACTERS, "=", " ", "\n", "+", "/", "é"} - {character}:
            _check_unknown(TOKEN[:place] + other + TOKEN[place + 1 :])


def test_every_shortened_or_lengthened_token_is_seen() -> None:
    """Whatever is cut off or added at an end; several images let a cut fall between two answers."""
    token = KEYS.sign(a_ticket(3))
    for cut in range(len(token)):
        _check_unknown(token[:cut])
        _check_unknown(token[cut + 1 :])
    for more in ("A", "AAAA", "=", " ", token):
        _check_unknown(token + more)


@given(
    st.text() | st.text(CHARACTERS) | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode())
)
def test_any_other_text_is_unknown(text: str) -> None:
    """Whatever a stranger sends is refused in one way, and never crashes."""
    _check_unknown(text)


def test_half_a_surrogate_pair_is_unknown() -> None:
    """JSON can hold it."""
    _check_unknown(TOKEN[:-1] + "\ud800")


def test_another_service_is_unknown() -> None:
    """A token of other keys is refused, also where the keys' fingerprints are the same."""
    _check_unknown(FeedbackKeys((OLD,)).sign(a_ticket()))
    twin = next(
        key
        for key in (number.to_bytes(32) for number in range(10_000))
        if hashlib.sha256(key).digest()[0] == hashlib.sha256(NEW).digest()[0]
    )
    _check_unknown(FeedbackKeys((twin,)).sign(a_ticket()))
    both = FeedbackKeys((twin, NEW))
    assert both.read(TOKEN) == both.read(both.sign(a_ticket())) == a_ticket()


def test_keys_change_without_a_gap() -> None:
    """While both are there the new one signs and both are read; afterwards old tokens are unknown."""
    before, during, after = FeedbackKeys((OLD,)), FeedbackKeys((NEW, OLD)), FeedbackKeys((NEW,))
    old, new = before.sign(a_ticket()), during.sign(a_ticket())
    assert during.read(old) == during.read(new) == after.read(new) == a_ticket()
    with pytest.raises(UnknownTokenError):
        after.read(old)


@pytest.mark.parametrize("keys", [(), (b"",), (NEW, b"x" * 15)])
def test_weak_keys_are_refused(keys: tuple[bytes, ...]) -> None:
    """None, or one that could be guessed; the message shows no key."""
    with pytest.raises(ValueError, match="at least one, each of 16 bytes or more") as refused:
        FeedbackKeys(keys)
    assert "xxx" not in str(refused.value)


def test_keys_do_not_show() -> None:
    """Not in a log line or a traceback that prints the object."""
    assert NEW.hex() not in repr(KEYS)
    assert repr(NEW) not in repr(KEYS)


def test_a_unit_cannot_forge_a_token_under_the_same_key() -> None:
    """The hash of a unit that looks like a token's content is not that token's signature."""
    body = base64.urlsafe_b64decode(KEYS.sign(a_ticket()) + "==")[:-16]
    forged = body + hmac.digest(NEW, body, "sha256")[:16]
    _check_unknown(base64.urlsafe_b64encode(forged).rstrip(b"=").decode())


@given(st.text())
def test_a_unit_is_kept_as_its_keyed_hash(unit: str) -> None:
    """HMAC-SHA256 of its UTF-8, cut to 32 hexadecimal digits; another key gives another name."""
    expected = hmac.new(OLD, unit.encode(), hashlib.sha256).hexdigest()[:32]
    assert unit_hash(OLD, unit) == expected != unit_hash(NEW, unit)


def _check_unknown(token: str) -> None:
    with pytest.raises(UnknownTokenError, match="feedback_token") as refused:
        KEYS.read(token)
    assert isinstance(refused.value, InvalidRequestError)
