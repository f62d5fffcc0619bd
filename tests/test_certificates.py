"""Certificates are proven before they count, and count from the next connection on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from serve.certificates import CertificateError, Certificates
from serve.key_kinds import kind_of_key
from tests.pki import Authority, Key, Pair, encrypted, serial

CA, OTHER_CA = Authority(), Authority("another authority")
SERVER = CA.server()


def certificates(pair: Pair = SERVER, client_ca: bytes | None = None) -> Certificates:
    """With these in force."""
    made = Certificates()
    made.replace(contents(pair, client_ca))
    return made


def contents(pair: Pair, client_ca: bytes | None = None) -> tuple[bytes, ...]:
    """What the files hold."""
    return (pair.certificate, pair.key, *(() if client_ca is None else (client_ca,)))


def caller(folder: Path, shows: Pair | None = None) -> ssl.SSLContext:
    """A caller that trusts CA."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its sessions are there when the handshake is over
    if shows:
        file = folder / "caller.pem"
        file.write_bytes(shows.certificate + shows.key)
        context.load_cert_chain(file)
    return context


def connect(
    certificates: Certificates, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLObject:
    """Shake hands in memory; gives the caller's side."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname="localhost", session=session)
    server = certificates.rest.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client


def shown(side: ssl.SSLObject) -> int:
    """The serial number of the certificate that the other side showed."""
    der = side.getpeercert(binary_form=True)
    assert der is not None
    return serial(der, der=True)


def test_a_new_certificate_is_for_new_connections(tmp_path: Path) -> None:
    """The next handshake shows it; a connection that is open goes on with the keys that it has."""
    made, context, new = certificates(), caller(tmp_path), CA.server(days=(-1, 60))
    before = connect(made, context)
    ended_s = made.expires_s
    assert "valid until" in made.replace(contents(new))
    assert [shown(connect(made, context)), shown(before)] == [
        serial(new.certificate), serial(SERVER.certificate),
    ]  # fmt: skip
    assert made.expires_s - ended_s == pytest.approx(30 * 86400, abs=600)


ALIEN = CA.server()
BAD = {
    "the key of another": ((SERVER.certificate, ALIEN.key), "tls.key: is not the key of tls.certificate"),
    "nothing": ((b"", b""), "must be a chain and its private key"),
    "no key": ((SERVER.certificate, b""), "must be a chain and its private key"),
    "no chain": ((b"", SERVER.key), "must be a chain and its private key"),
    "each in the place of the other": (
        (SERVER.key, SERVER.certificate),
        "tls.certificate, tls.key: look swapped",
    ),
    "the key in the chain's file only": ((SERVER.certificate + SERVER.key, b""), "must be a chain and its"),
    "another key beside the right one": ((SERVER.certificate + SERVER.key, ALIEN.key), "is not the key of"),
    "half a chain": ((SERVER.certificate[:200], SERVER.key), "must be a chain and its private key"),
    "random bytes": ((bytes(range(256)), SERVER.key), "must be a chain and its private key"),
    "a key under a password": (contents(encrypted(SERVER, b"secret")), "tls.key: is encrypted"),
    "out of date": (contents(CA.server(days=(-9, -1))), "tls.certificate: certificate has expired"),
    "too early": (contents(CA.server(days=(1, 9))), "tls.certificate: certificate is not yet valid"),
    "for callers": (contents(CA.server(client_only=True)), "tls.certificate: unsuitable certificate purpose"),
    "Ed25519": (
        contents(CA.server(key=ed25519.Ed25519PrivateKey.generate())),
        "its key is Ed25519, gRPC takes RSA, ECDSA P-256, ECDSA P-384",
    ),
    "Ed448": (contents(CA.server(key=ed448.Ed448PrivateKey.generate())), "its key is Ed448"),
    "P-521": (contents(CA.server(key=ec.generate_private_key(ec.SECP521R1()))), "its key is ECDSA P-521"),
    "no authority": (contents(SERVER, b"nobody"), "tls.client_ca: must be certificates"),
    "an empty authority": (contents(SERVER, b""), "tls.client_ca: must be certificates"),
    "a binary authority": (contents(SERVER, b"\xff"), "tls.client_ca: must be certificates"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_nobody_could_use_is_refused(name: str, tmp_path: Path) -> None:
    """The message names the setting and no secret; what was in force stays so, the authority with it."""
    bad, message = BAD[name]
    made, known = certificates(client_ca=CA.pem), caller(tmp_path, CA.caller("ci"))
    with pytest.raises(CertificateError) as raised:
        made.replace(bad)
    assert message in str(raised.value)
    assert "PRIVATE" not in str(raised.value)
    assert shown(connect(made, known)) == serial(SERVER.certificate)
    with pytest.raises(ssl.SSLError):
        connect(made, caller(tmp_path))


KEYS: dict[str, Callable[[], Key]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("kind", KEYS)
async def test_what_is_proven_serves_grpc_too(kind: str) -> None:
    """Of each kind of key that is taken, a gRPC caller makes a connection."""
    made = certificates(CA.server(key=KEYS[kind]()))
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", made.grpc_credentials())
    await server.start()
    try:
        credentials = grpc.ssl_channel_credentials(CA.pem)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            await asyncio.wait_for(channel.channel_ready(), 20)
    finally:
        await server.stop(0)


def test_the_kind_of_a_key_may_be_unknown() -> None:
    """Nothing is guessed about kinds that are not in the table."""
    pair = CA.server(key=ec.generate_private_key(ec.SECP256K1()))
    assert kind_of_key(ssl.PEM_cert_to_DER_cert(pair.certificate.decode())) == "unknown"


def test_a_comment_in_any_letters_is_no_fault(tmp_path: Path) -> None:
    """Chains and authorities may say whose they are, in any language."""
    comment = "# Zertifizierungsstelle für Prüfungen\n".encode()
    pair = Pair(certificate=comment + SERVER.certificate, key=SERVER.key)
    connect(certificates(pair, comment + CA.pem), caller(tmp_path, CA.caller("ci")))


def test_callers_show_a_certificate_of_the_authority(tmp_path: Path) -> None:
    """One that it signed is let in; none, or another's, is not."""
    made = certificates(client_ca=CA.pem)
    connect(made, caller(tmp_path, CA.caller("ci")))
    for stranger in (None, OTHER_CA.caller("ci"), CA.server()):
        with pytest.raises(ssl.SSLError):
            connect(made, caller(tmp_path, stranger))


def test_an_authority_can_be_taken_away(tmp_path: Path) -> None:
    """Its callers come in no more, not even by resuming the session that they had."""
    made, context = certificates(client_ca=CA.pem), caller(tmp_path, CA.caller("ci"))
    session = connect(made, context).session
    assert connect(made, context, session).session_reused
    made.replace(contents(SERVER, OTHER_CA.pem))
    for kept in (None, session):
        with pytest.raises(ssl.SSLError):
            connect(made, context, kept)
