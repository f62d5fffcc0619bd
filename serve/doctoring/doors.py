"""Checks of who gets in: addresses, tokens, certificates, and the files that decide about them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from serve.certificates import CertificateError, Certificates
from serve.core.access import expiries
from serve.doctoring.finding import (
    Finding,
    Patient,
    error,
    info,
    readable_by_others,
    warning,
    writable_by_others,
)
from serve.settings import is_loopback

EXPIRES_SOON_S = 30 * 86_400.0
TOKEN_EXPIRES_SOON_S = 14 * 86_400.0
_DAY_S = 86_400.0
# Tried first by whoever tries.
GUESSABLE = ("", "admin", "attnserve", "changeme", "password", "secret", "test", "token", "123456")


def reach(patient: Patient) -> Iterator[Finding]:
    """Whether others can reach the ports, and what then stands in their way."""
    config = patient.config
    where = f"host is {config.host!r}"
    if is_loopback(config.host):
        if config.allow_unauthenticated:
            yield info(
                f"allow_unauthenticated is true, and {where}",
                "It has no effect on loopback, and opens everything the day that host changes.",
                "Remove allow_unauthenticated.",
            )
        return
    if not (patient.tokens or config.tls.client_ca):
        yield error(
            f"{where} and allow_unauthenticated is true: there are no tokens",
            "Whoever reaches the port may classify, and may load and unload models.",
            "Add tokens (attnserve token NAME), or set tls.client_ca.",
        )
    if config.tls.certificate is None:
        yield warning(
            f"{where}, and there is no TLS",
            "Tokens and images cross the network in plain text; whoever listens can use the tokens.",
            "Set tls.certificate and tls.key, unless something in front of the gateway speaks TLS.",
        )
    yield warning(
        f"the metrics port is open at {config.host!r}, to everybody and in plain text",
        "Names of models and tokens, and the load, can be read from it.",
        "Let only Prometheus through to metrics_port: a firewall, or a NetworkPolicy.",
    )


def tokens(patient: Patient) -> Iterator[Finding]:
    """Whether there are any, and whether they can be guessed."""
    if not (patient.tokens or patient.config.tls.client_ca) and is_loopback(patient.config.host):
        yield info(
            "there are no tokens",
            "Everybody who can log in to this machine may classify, and may load and unload models.",
            "Where others share the machine, add tokens: attnserve token NAME.",
        )
    for token in patient.tokens:
        words = (*GUESSABLE, token.name)
        if token.sha256 in {hashlib.sha256(word.encode()).hexdigest() for word in words}:
            yield error(
                f"the secret of token {token.name!r} is a word that is easily guessed",
                f"Whoever tries it has the role {token.role!r}.",
                f"Make another one: attnserve token {token.name} --role {token.role}.",
            )


def expiry(patient: Patient) -> Iterator[Finding]:
    """Whether tokens have expired or soon will; of two of one name the later counts."""
    roles = {token.name: token.role for token in patient.tokens}  # those of one name have the same
    for name, expires_s in expiries(token.kept for token in patient.tokens).items():
        days = (expires_s - time.time()) / _DAY_S
        if days * _DAY_S < TOKEN_EXPIRES_SOON_S:
            yield warning(
                f"token {name!r} expires in {days:.0f} days" if days > 0 else f"token {name!r} has expired",
                "Its bearer is refused from then on.",
                f"Put another beside it (attnserve token {name} --role {roles[name]} --days 90), "
                "or remove it if nobody needs it.",
            )


def files(patient: Patient) -> Iterator[Finding]:
    """Whether others may change who gets in, or read the digests of tokens."""
    config_file, tokens_file = patient.path, patient.config.tokens_file
    for name, path in (("the configuration", config_file), ("tokens_file", tokens_file)):
        if path is not None and writable_by_others(path):
            yield error(
                f"{name}, {path}, can be changed by every user of this machine",
                "Whoever changes it gives themselves a token, or another model store.",
                f"chmod o-w {path} {path.absolute().parent}",
            )
    listing = config_file if patient.config.tokens else None
    for name, path in (("the configuration", listing), ("tokens_file", tokens_file)):
        if path is not None and readable_by_others(path):
            yield warning(
                f"{name}, {path}, lists tokens and can be read by every user of this machine",
                "A digest tells the secret to whoever guesses it; secrets made by people can be guessed.",
                f"chmod o-r {path}",
            )


def certificates(patient: Patient) -> Iterator[Finding]:
    """Whether the TLS files can be used, for how long, and whether the key is private."""
    tls = patient.config.tls
    named = {"tls.certificate": tls.certificate, "tls.key": tls.key, "tls.client_ca": tls.client_ca}
    contents: list[bytes] = []
    for name, path in named.items():
        try:
            contents += [path.read_bytes()] if path else []
        except OSError as problem:
            yield error(
                f"{name}, {path}, cannot be read: {problem.strerror}",
                "The gateway does not start without it.",
                f"Mend the path, or let the user who runs the gateway read {path}.",
            )
            return
    if tls.certificate is None or tls.key is None:
        return
    yield from _usable(contents)
    yield from _private(tls.key)


def _usable(contents: list[bytes]) -> Iterator[Finding]:
    proven = Certificates()
    try:
        proven.replace(contents)
    except CertificateError as problem:
        yield error(
            str(problem),
            "The gateway does not start with it; one that runs keeps the last good version.",
            "Put a certificate that is valid today and its key there.",
        )
        return
    days = (proven.expires_s - time.time()) / _DAY_S
    if days * _DAY_S < EXPIRES_SOON_S:
        yield warning(
            f"tls.certificate expires in {days:.0f} days",
            "From then on no caller will connect.",
            "Renew it; the gateway takes the new file while it runs.",
        )


def _private(key: Path) -> Iterator[Finding]:
    if readable_by_others(key) or writable_by_others(key):
        yield error(
            f"tls.key, {key}, is open to every user of this machine",
            "Whoever has it can pass for this gateway and take the callers' tokens.",
            f"chmod o-rwx {key}, and have the certificate issued anew for another key.",
        )
