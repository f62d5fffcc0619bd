"""Who may do what: bearer tokens, kept as SHA-256 digests, each with a name and a role; or certificates."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Literal

from serve.core.errors import ForbiddenError, UnauthenticatedError

ANONYMOUS = "anonymous"


class Role(IntEnum):
    """What a caller may do; a higher role may do all that a lower one may."""

    INFER = 1
    OPERATE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept: never the secret, only its digest (hexadecimal).

    Attributes:
        max_images_per_s: What its bearer may have classified in the long run; None: no limit.
        expires: From when on it is refused, with its zone; None: never.
    """

    name: str
    role: Role
    sha256: str
    max_images_per_s: float | None = None
    expires: datetime | None = None

    @property
    def expires_s(self) -> float:
        """As Unix time; +inf: never."""
        return self.expires.timestamp() if self.expires else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls: a name that is shown and logged, and what it may do."""

    name: str
    role: Role


@dataclass(slots=True, kw_only=True)
class Access:
    """Who may call now.

    Attributes:
        tokens: Those in force. They may be replaced at any time, whole: a request is judged by those of
            its moment.
        certified: What a caller's certificate allows where there are no tokens; None: nobody is asked
            for one, and without tokens access is open (the configuration allows that on loopback).
    """

    tokens: tuple[Token, ...] = ()
    certified: Role | None = None

    @property
    def asks_certificate(self) -> bool:
        """Whether the name in a caller's certificate makes a difference now."""
        return not self.tokens and self.certified is not None

    @property
    def kind(self) -> Literal["open", "token", "certificate"]:
        """By what callers are known now."""
        if self.tokens:
            return "token"
        return "open" if self.certified is None else "certificate"

    def identify(self, authorization: str | None, certificate: str | None = None, *, now: float) -> Identity:
        """Say who calls, and what they may do.

        Args:
            authorization: The value of the header or metadata of that name: "Bearer ...".
            certificate: The name in the certificate with which the caller came; its signature has been
                checked.
            now: Unix time.

        Returns:
            The token's name and role, else the certificate's; "anonymous", who may do everything, when
            access is open.

        Raises:
            UnauthenticatedError: No token, not one of ours, or an expired one; or no name in the certificate.
        """
        if self.tokens:
            token = self._find(_secret(authorization))
            if token.expires and now >= token.expires_s:
                # Whoever shows the secret may know this; to everybody else the token stays unknown.
                when = token.expires.isoformat()
                raise UnauthenticatedError(f"authorization: token {token.name!r} expired at {when}")
            return Identity(name=token.name, role=token.role)
        if self.certified is None:
            return Identity(name=ANONYMOUS, role=Role.ADMIN)
        if not certificate:
            raise UnauthenticatedError("certificate: has no common name (CN) and no alternative name")
        return Identity(name=certificate, role=self.certified)

    def authorize(
        self, authorization: str | None, needs: Role, certificate: str | None = None, *, now: float
    ) -> str:
        """Say whose request it is; `needs` is the lowest role that will do, the rest is as for `identify`.

        Returns:
            The name.

        Raises:
            UnauthenticatedError: As `identify`.
            ForbiddenError: The role is too low.
        """
        caller = self.identify(authorization, certificate, now=now)
        if caller.role < needs:
            what = f"authorization: token {caller.name!r}" if self.tokens else f"certificate: {caller.name!r}"
            has, needed = caller.role.name.lower(), needs.name.lower()
            raise ForbiddenError(f"{what} has the role {has!r}, this needs {needed!r}", principal=caller.name)
        return caller.name

    def limit_of(self, name: str) -> float | None:
        """Most images a second that the caller of that name may send now; None: no limit."""
        return next((token.max_images_per_s for token in self.tokens if token.name == name), None)

    def _find(self, secret: str) -> Token:
        # Every digest is compared, in constant time, so that timing tells nothing about any of them.
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = [token for token in self.tokens if hmac.compare_digest(token.sha256, digest)]
        if not found:
            raise UnauthenticatedError("authorization: this token is not known")
        return found[0]


def expiries(tokens: Iterable[Token]) -> dict[str, float]:
    """Until when each name is let in, as Unix time: of two tokens of one name the later counts."""
    found: dict[str, float] = {}
    for token in tokens:
        found[token.name] = max(found.get(token.name, -math.inf), token.expires_s)
    return found


def _secret(authorization: str | None) -> str:
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError("authorization: expected 'Bearer <token>'")
    return secret.strip()
