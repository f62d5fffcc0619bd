"""How a caller shows who it is."""

from __future__ import annotations


def bearer(token: str) -> dict[str, str]:
    """The header of REST, or the metadata of gRPC, for a bearer token; nothing for none.

    In lower case, as gRPC wants it; HTTP does not mind.
    """
    return {"authorization": f"Bearer {token}"} if token else {}
