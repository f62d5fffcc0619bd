"""Who may do what: bearer tokens, kept as SHA-256 digests, each with a name and a role."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum

from serve.core.errors import ForbiddenError, UnauthenticatedError


class Role(IntEnum):
    """What a token allows; a higher role may do all that a lower one may."""

    INFER = 1
    OPERATE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept: never the secret, only its digest (hexadecimal)."""

    name: str
    role: Role
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The tokens in force; without any, access is open (the configuration allows that on loopback)."""

    tokens: tuple[Token, ...] = ()

    def authorize(self, authorization: str | None, needs: Role) -> str:
        """Say whose request it is.

        Args:
            authorization: The value of the header or metadata of that name: "Bearer ...".
            needs: The lowest role that will do.

        Returns:
            The token's name, or "anonymous" when access is open.

        Raises:
            UnauthenticatedError: No token, or not one of ours.
            ForbiddenError: The token's role is too low.
        """
        if not self.tokens:
            return "anonymous"
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise UnauthenticatedError("authorization: expected 'Bearer <token>'")
        token = self._find(secret.strip())
        if token is None:
            raise UnauthenticatedError("authorization: this token is not known")
        if token.role < needs:
            raise ForbiddenError(
                f"authorization: token {token.name!r} has the role {token.role.name.lower()!r}, "
                f"this needs {needs.name.lower()!r}"
            )
        return token.name

    def _find(self, secret: str) -> Token | None:
        # Every digest is compared, in constant time, so that timing tells nothing about any of them.
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = [token for token in self.tokens if hmac.compare_digest(token.sha256, digest)]
        return found[0] if found else None
