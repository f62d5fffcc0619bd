"""Who may do what."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serve.core.access import Access, Identity, Role, Token, expiries
from serve.core.errors import ForbiddenError, UnauthenticatedError

SECRET = "s3cret"  # noqa: S105  of this test only
NOW = 1_800_000_000.0


def token(name: str, role: Role, secret: str) -> Token:
    """A token as the configuration keeps it."""
    return Token(name=name, role=role, sha256=hashlib.sha256(secret.encode()).hexdigest())


ACCESS = Access(
    tokens=(
        token("reader", Role.INFER, "r"),
        token("ci", Role.OPERATE, SECRET),
        token("boss", Role.ADMIN, "b"),
    )
)


def test_without_tokens_access_is_open() -> None:
    """Everybody is anonymous and may do everything."""
    assert Access().authorize(None, Role.ADMIN, now=NOW) == "anonymous"
    assert Access().authorize("Bearer whatever", Role.INFER, now=NOW) == "anonymous"


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER   {SECRET} "])
def test_a_known_token_is_named(header: str) -> None:
    """The scheme's case and stray blanks do not matter (RFC 9110, 11.1)."""
    assert ACCESS.authorize(header, Role.OPERATE, now=NOW) == "ci"


@pytest.mark.parametrize("role", list(Role))
def test_a_higher_role_may_do_what_a_lower_one_may(role: Role) -> None:
    """Each role is allowed up to its own height, and refused above."""
    secrets = {"r": Role.INFER, SECRET: Role.OPERATE, "b": Role.ADMIN}
    for secret, has in secrets.items():
        if has >= role:
            ACCESS.authorize(f"Bearer {secret}", role, now=NOW)
        else:
            with pytest.raises(ForbiddenError, match=f"this needs '{role.name.lower()}'"):
                ACCESS.authorize(f"Bearer {secret}", role, now=NOW)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {SECRET}", SECRET])
def test_no_token_is_said_how_to_bring_one(header: str | None) -> None:
    """Anything but a bearer token is none."""
    with pytest.raises(UnauthenticatedError, match="expected 'Bearer <token>'"):
        ACCESS.authorize(header, Role.INFER, now=NOW)


@pytest.mark.parametrize("secret", ["S3CRET", "s3cre", "s3crett", "\u00e9", "Bearer s3cret"])
def test_a_wrong_token_is_refused_without_being_shown(secret: str) -> None:
    """Nearly right is wrong, and neither the secret nor a digest is in the message."""
    with pytest.raises(UnauthenticatedError) as raised:
        ACCESS.authorize(f"Bearer {secret}", Role.INFER, now=NOW)
    assert raised.value.message == "authorization: this token is not known"


CERTIFIED = Access(certified=Role.OPERATE)


def test_a_certificate_counts_where_there_are_no_tokens() -> None:
    """Its name is the caller's, with the role of all certificates; a token changes nothing then."""
    assert CERTIFIED.authorize(None, Role.OPERATE, "ci", now=NOW) == "ci"
    assert CERTIFIED.authorize("Bearer whatever", Role.INFER, "ci", now=NOW) == "ci"
    message = "certificate: 'ci' has the role 'operate', this needs 'admin'"
    with pytest.raises(ForbiddenError, match=message) as raised:
        CERTIFIED.authorize(None, Role.ADMIN, "ci", now=NOW)
    assert raised.value.principal == "ci"


@pytest.mark.parametrize("name", [None, ""])
def test_a_certificate_without_a_name_is_nobody(name: str | None) -> None:
    """It is not let in as anybody."""
    with pytest.raises(UnauthenticatedError, match="certificate: has no common name"):
        CERTIFIED.authorize(None, Role.INFER, name, now=NOW)


def test_a_certificate_is_not_enough_where_there_are_tokens() -> None:
    """The token decides who it is and what is allowed."""
    both = Access(tokens=ACCESS.tokens, certified=Role.ADMIN)
    with pytest.raises(UnauthenticatedError):
        both.authorize(None, Role.INFER, "ci", now=NOW)
    assert both.authorize("Bearer r", Role.INFER, "ci", now=NOW) == "reader"
    with pytest.raises(ForbiddenError):
        both.authorize("Bearer r", Role.OPERATE, "ci", now=NOW)


def test_who_calls_is_told_with_the_role() -> None:
    """By token, by certificate, or nobody in particular, who may do everything."""
    assert ACCESS.kind == "token"
    assert ACCESS.identify("Bearer r", now=NOW) == Identity(name="reader", role=Role.INFER)
    assert ACCESS.identify("Bearer b", "ignored", now=NOW) == Identity(name="boss", role=Role.ADMIN)
    assert CERTIFIED.kind == "certificate"
    assert CERTIFIED.identify(None, "ci", now=NOW) == Identity(name="ci", role=Role.OPERATE)
    assert Access().kind == "open"
    assert Access().identify("Bearer whatever", now=NOW) == Identity(name="anonymous", role=Role.ADMIN)
    for access, header in ((ACCESS, "Bearer x"), (ACCESS, None), (CERTIFIED, "Bearer r")):
        with pytest.raises(UnauthenticatedError):
            access.identify(header, now=NOW)


def test_tokens_are_replaced_at_once() -> None:
    """The next request knows the new ones only; two of one name are one caller."""
    access = Access(tokens=(token("ci", Role.INFER, "old"),))
    access.tokens = (token("ci", Role.INFER, "old"), token("ci", Role.INFER, "new"))
    assert {access.authorize(f"Bearer {secret}", Role.INFER, now=NOW) for secret in ("old", "new")} == {"ci"}
    access.tokens = (token("ci", Role.INFER, "new"),)
    with pytest.raises(UnauthenticatedError):
        access.authorize("Bearer old", Role.INFER, now=NOW)


# 2027-01-15T08:00:00Z, which is NOW: `date --utc --date=@1800000000` says so.
ENDS = datetime(2027, 1, 15, 8, tzinfo=UTC)


def test_an_expired_token_is_refused_by_name() -> None:
    """Up to the second before it is good; from the second on its bearer is told its name and since when."""
    access = Access(tokens=(replace(token("ci", Role.OPERATE, SECRET), expires=ENDS),))
    assert access.authorize(f"Bearer {SECRET}", Role.INFER, now=NOW - 1) == "ci"
    for now in (NOW, NOW + 1e9):
        with pytest.raises(UnauthenticatedError) as raised:
            access.authorize(f"Bearer {SECRET}", Role.INFER, now=now)
        assert raised.value.message == "authorization: token 'ci' expired at 2027-01-15T08:00:00+00:00"


def test_where_all_tokens_have_expired_nobody_comes_in() -> None:
    """It is not as without tokens; and who shows another secret learns nothing of the expired one."""
    access = Access(tokens=(replace(token("ci", Role.OPERATE, SECRET), expires=ENDS),), certified=Role.ADMIN)
    for header in (None, "Bearer other"):
        with pytest.raises(UnauthenticatedError) as raised:
            access.authorize(header, Role.INFER, "ci", now=NOW)
        assert "'ci'" not in raised.value.message


def test_of_two_tokens_of_a_name_each_has_its_own_end() -> None:
    """The old one goes, the new one stays; the name is let in until the later of both."""
    old = replace(token("ci", Role.INFER, "old"), expires=ENDS)
    new = token("ci", Role.INFER, "new")
    access = Access(tokens=(old, new))
    assert access.authorize("Bearer new", Role.INFER, now=NOW) == "ci"
    with pytest.raises(UnauthenticatedError, match="expired at"):
        access.authorize("Bearer old", Role.INFER, now=NOW)
    assert expiries([old]) == {"ci": NOW}
    assert expiries([new, old]) == expiries([old, new]) == {"ci": math.inf}
