"""The `handler:` block of an archive's model-config.yaml: what an operator may set without a new archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from .attn_decode import ImageLimits
from .attn_decoders import AUTO, DECODERS

_LIMITS: Final = tuple(limit.name for limit in fields(ImageLimits))
_OWN: Final = ("decoder", "decode_threads")
_ELSEWHERE: Final = ("recipe",)  # read by attn_recipes
_KEYS: Final = (*_LIMITS, *_OWN, *_ELSEWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the block says; what it leaves out keeps its default.

    Attributes:
        limits: What one image may cost.
        decoder: What reads JPEG files: one of DECODERS, which attn_decoders explains.
        decode_threads: Threads that decode and resize; None: as many as `decode_threads_for` says.
    """

    limits: ImageLimits = field(default_factory=ImageLimits)
    decoder: str = AUTO
    decode_threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be followed.

        Raises:
            ValueError: The message names the key, its value and the rule.
        """
        if self.decoder not in DECODERS:
            raise ValueError(f"decoder: must be one of {', '.join(DECODERS)}, got {self.decoder!r}")
        threads = self.decode_threads
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f"decode_threads: must be null or an integer of at least 1, got {threads!r}")

    @classmethod
    def of_config(cls, config: Mapping[str, object]) -> Options:
        """Read the `handler:` block of model-config.yaml.

        Raises:
            ValueError: A key is unknown or its value breaks the rule.
        """
        block = config.get("handler")
        if block is None:
            return cls()
        if not isinstance(block, dict) or not set(_KEYS).issuperset(block):
            raise ValueError(f"handler: in model-config.yaml takes {', '.join(sorted(_KEYS))}; got {block!r}")
        limits = ImageLimits(**{name: block[name] for name in _LIMITS if name in block})
        return cls(limits=limits, **{name: block[name] for name in _OWN if name in block})
