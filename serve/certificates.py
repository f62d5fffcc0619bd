"""The certificates of both doors: proven before they count, in force from the next connection on.

An open connection keeps the keys that it was made with. TLS 1.2 and 1.3, with the ciphers that Python and
gRPC choose.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc

from serve.key_kinds import kind_of_key

# Turns of a handshake with ourselves; TLS 1.2 takes three, TLS 1.3 two.
TURNS = 4
# What gRPC can show to its callers: its TLS has no Ed25519 and no Ed448, and its callers take no P-521.
KEYS = ("RSA", "ECDSA P-256", "ECDSA P-384")


class CertificateError(ValueError):
    """The files do not make a door that a caller could trust; the message names the setting and the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proven:
    """A chain, its key and the callers' authority that go together, for each door."""

    rest: ssl.SSLContext
    grpc: grpc.ServerCertificateConfiguration
    expires: str


class CurrentContext(ssl.SSLContext):
    """A server's context that makes every connection with the context that is current then.

    Changing one in place would not do: authorities can be added to it but not taken away, and with its
    session tickets a caller would come back in whose certificate no longer counts.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  those of the original
        """See `ssl.SSLContext.wrap_bio`, with which event loops begin TLS on a connection."""
        return self.current.wrap_bio(*args, **options)


class Certificates:
    """Those in force; none before the first `replace`.

    Attributes:
        rest: What a server on an event loop takes.
    """

    def __init__(self) -> None:
        self.rest = CurrentContext(ssl.PROTOCOL_TLS_SERVER)
        self._proven: _Proven
        self._fetched: _Proven

    @property
    def expires_s(self) -> float:
        """When the certificate ends, as Unix time in seconds."""
        return ssl.cert_time_to_seconds(self._proven.expires)

    def replace(self, contents: Sequence[bytes]) -> str:
        """Put a version in force for the connections that begin from now on.

        Args:
            contents: PEM: the chain, its private key and, where callers must show a certificate, the
                authorities that sign theirs.

        Returns:
            What is in force now, for the log.

        Raises:
            CertificateError: They do not go together, or cannot be used today; the former ones stay.
        """
        self._proven = _prove(*contents)
        self.rest.current = self._proven.rest
        return f"a certificate valid until {self._proven.expires}"

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server takes; it asks for changes before each handshake."""
        self._fetched = self._proven
        asks_callers = self._proven.rest.verify_mode is ssl.CERT_REQUIRED
        fetch = cast(
            "Callable[[], grpc.ServerCertificateConfiguration]", self._fetch
        )  # the stubs forget None
        return grpc.dynamic_ssl_server_credentials(self._proven.grpc, fetch, asks_callers)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """From a thread of gRPC's: the current ones, or None when it has them already."""
        known, self._fetched = self._fetched, self._proven
        return None if known is self._fetched else self._fetched.grpc


def _prove(chain: bytes, key: bytes, client_ca: bytes | None = None) -> _Proven:
    context = _context(chain, key)
    # Before callers are asked for a certificate, since we have none to show to ourselves.
    expires = _shake_hands(context, chain)
    if client_ca is not None:
        _ask_callers(context, client_ca)
    return _Proven(
        rest=context,
        grpc=grpc.ssl_server_certificate_configuration([(key, chain)], client_ca),
        expires=expires,
    )


def _context(chain: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    # Python loads them from files only. These are in memory, so that both doors get the same bytes, even if
    # the real ones change in between. One each: gRPC, too, takes the key from tls.key alone.
    with _in_memory(chain) as chain_file, _in_memory(key) as key_file:
        try:
            context.load_cert_chain(chain_file, key_file, password=_refuse_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise CertificateError("tls.key: is not the key of tls.certificate") from None
            if _swapped(chain, key):
                raise CertificateError("tls.certificate, tls.key: look swapped, each is the other") from None
            why = f" ({error.reason})" if error.reason else ""
            raise CertificateError(
                f"tls.certificate, tls.key: must be a chain and its private key in PEM{why}"
            ) from None
    return context


def _swapped(chain: bytes, key: bytes) -> bool:
    certificate, private = b"-BEGIN CERTIFICATE-", b"PRIVATE KEY-"
    return private in chain and certificate in key and not (certificate in chain or private in key)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A file of that content, on no disk; gives its path."""
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _refuse_password() -> str:
    # Without this, Python would ask for it on the terminal.
    raise CertificateError("tls.key: is encrypted, and there is nobody to ask for the password")


def _shake_hands(context: ssl.SSLContext, chain: bytes) -> str:
    """Make a connection to ourselves, in memory, as a caller who trusts this certificate alone.

    Returns:
        When the certificate ends, as `ssl.cert_time_to_seconds` reads it.

    Raises:
        CertificateError: It is out of date, or not for servers, or its key is of a kind that gRPC cannot use.
    """
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False  # which names callers use is not known here
    caller.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (caller.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True))
    try:
        caller.load_verify_locations(cadata=chain.decode("ascii", "ignore"))
        for _ in range(TURNS):
            for side in sides:
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(f"tls.certificate: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise CertificateError(f"tls.certificate: makes no connection ({error.reason})") from None
    kind = kind_of_key(sides[0].getpeercert(binary_form=True) or b"")
    if kind not in KEYS:
        raise CertificateError(f"tls.certificate: its key is {kind}, gRPC takes {', '.join(KEYS)}")
    shown = sides[0].getpeercert() or {}
    return str(shown["notAfter"])


def _ask_callers(context: ssl.SSLContext, client_ca: bytes) -> None:
    try:
        context.load_verify_locations(cadata=client_ca.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise CertificateError("tls.client_ca: must be certificates in PEM") from None
    context.verify_mode = ssl.CERT_REQUIRED
