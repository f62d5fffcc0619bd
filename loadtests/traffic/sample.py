"""One image that load tests send."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An encoded image, or what pretends to be one.

    Attributes:
        name: Where it comes from, for messages.
        label: What it shows; "" where nobody knows, or where the only right answer is a refusal.
        encoded: The file's bytes.
        refusal: What the gateway must say of it; "" where it must answer.
    """

    name: str
    label: str
    encoded: bytes
    refusal: str = ""
