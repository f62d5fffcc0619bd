"""Which kind of key a certificate is for. Python's `ssl` does not tell; DER does.

A certificate is (RFC 5280, 4.1) a sequence whose first part is a sequence of: version, serial number,
signature algorithm, issuer, validity, subject, and the public key, which begins with the identifier of its
algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# Identifiers (RFC 3279, 5480 and 8410) in DER, without the sequence around them.
_EC = bytes.fromhex("06072a8648ce3d0201")
KINDS: Mapping[bytes, str] = {
    bytes.fromhex("06092a864886f70d0101010500"): "RSA",
    _EC + bytes.fromhex("06082a8648ce3d030107"): "ECDSA P-256",
    _EC + bytes.fromhex("06052b81040022"): "ECDSA P-384",
    _EC + bytes.fromhex("06052b81040023"): "ECDSA P-521",
    bytes.fromhex("06032b6570"): "Ed25519",
    bytes.fromhex("06032b6571"): "Ed448",
}
_PLACE = 6  # of the public key; the version before it may be left out
_VERSION = 0xA0
_LONG = 0x80


def kind_of_key(certificate: bytes) -> str:
    """Name the kind of its key, or "unknown"; the certificate, in DER, must be a valid one."""
    _, whole = next(_parts(certificate))
    _, signed = next(_parts(whole))
    parts = [content for tag, content in _parts(signed) if tag != _VERSION]
    _, identifier = next(_parts(parts[_PLACE - 1]))
    return KINDS.get(identifier, "unknown")


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each part of a sequence (X.690, 8.1)."""
    while content:
        tag, size, start = content[0], content[1], 2
        if size >= _LONG:
            start += size - _LONG
            size = int.from_bytes(content[2:start], "big")
        yield tag, content[start : start + size]
        content = content[start + size :]
