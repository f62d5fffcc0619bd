"""Who may do what."""

from __future__ import annotations

import hashlib

import pytest

from serve.core.access import Access, Role, Token
from serve.core.errors import ForbiddenError, UnauthenticatedError

SECRET = "s3cret"  # noqa: S105  of this test only


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
    assert Access().authorize(None, Role.ADMIN) == "anonymous"
    assert Access().authorize("Bearer whatever", Role.INFER) == "anonymous"


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER   {SECRET} "])
def test_a_known_token_is_named(header: str) -> None:
    """The scheme's case and stray blanks do not matter (RFC 9110, 11.1)."""
    assert ACCESS.authorize(header, Role.OPERATE) == "ci"


@pytest.mark.parametrize("role", list(Role))
def test_a_higher_role_may_do_what_a_lower_one_may(role: Role) -> None:
    """Each role is allowed up to its own height, and refused above."""
    secrets = {"r": Role.INFER, SECRET: Role.OPERATE, "b": Role.ADMIN}
    for secret, has in secrets.items():
        if has >= role:
            ACCESS.authorize(f"Bearer {secret}", role)
        else:
            with pytest.raises(ForbiddenError, match=f"this needs '{role.name.lower()}'"):
                ACCESS.authorize(f"Bearer {secret}", role)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {SECRET}", SECRET])
def test_no_token_is_said_how_to_bring_one(header: str | None) -> None:
    """Anything but a bearer token is none."""
    with pytest.raises(UnauthenticatedError, match="expected 'Bearer <token>'"):
        ACCESS.authorize(header, Role.INFER)


@pytest.mark.parametrize("secret", ["S3CRET", "s3cre", "s3crett", "\u00e9", "Bearer s3cret"])
def test_a_wrong_token_is_refused_without_being_shown(secret: str) -> None:
    """Nearly right is wrong, and neither the secret nor a digest is in the message."""
    with pytest.raises(UnauthenticatedError) as raised:
        ACCESS.authorize(f"Bearer {secret}", Role.INFER)
    assert raised.value.message == "authorization: this token is not known"
