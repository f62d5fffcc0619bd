"""Certificates for tests: an authority that signs them, and PEM of what it signed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

DAY = timedelta(days=1)
LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates that are valid now unless said otherwise."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        unsigned = _unsigned(self._name, self._name, self._key).add_extension(constraints, critical=True)
        self.pem = _pem(unsigned.sign(self._key, hashes.SHA256()))

    def server(
        self, *, days: tuple[float, float] = (-1, 30), client_only: bool = False, key: Key | None = None
    ) -> Pair:
        """For 127.0.0.1, valid from and until so many days from now."""
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client_only else ExtendedKeyUsageOID.SERVER_AUTH
        return self._sign("gateway", LOCAL, usage, days, key)

    def caller(self, name: str = "", others: Sequence[x509.GeneralName] = ()) -> Pair:
        """With a common name, or with other names, or with none."""
        return self._sign(name, others, ExtendedKeyUsageOID.CLIENT_AUTH, (-1, 30))

    def _sign(
        self,
        name: str,
        others: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        days: tuple[float, float],
        key: Key | None = None,
    ) -> Pair:
        key = key or ec.generate_private_key(ec.SECP256R1())
        unsigned = _unsigned(_named(name), self._name, key, days)
        unsigned = unsigned.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if others:
            names = x509.SubjectAlternativeName(others)
            unsigned = unsigned.add_extension(names, critical=not name)
        return Pair(certificate=_pem(unsigned.sign(self._key, hashes.SHA256())), key=key_pem(key))


def key_pem(key: Key, password: bytes | None = None) -> bytes:
    """A key as openssl writes it."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def encrypted(pair: Pair, password: bytes) -> Pair:
    """The same with its key under a password."""
    key = serialization.load_pem_private_key(pair.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(certificate=pair.certificate, key=key_pem(key, password))


def serial(certificate: bytes, *, der: bool = False) -> int:
    """Which one it is."""
    load = x509.load_der_x509_certificate if der else x509.load_pem_x509_certificate
    return load(certificate).serial_number


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    days: tuple[float, float] = (-1, 30),
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now + days[0] * DAY,
        not_valid_after=now + days[1] * DAY,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
