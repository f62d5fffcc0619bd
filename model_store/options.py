"""How workers are to serve an archive, as far as whoever builds it decides that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from model_store.errors import InputError

CudaDtype: TypeAlias = Literal["float32", "float16", "bfloat16"]
CUDA_DTYPE: Final[CudaDtype] = "float32"
RESPONSE_TIMEOUT_S: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """Choices that go into signature.json and model-config.yaml; what is None is left to the handler.

    Attributes:
        cuda_dtype: What the net computes in on CUDA; None: what its description says, else CUDA_DTYPE.
        max_image_bytes: Longest encoded image.
        max_image_pixels: Largest image, width times height.
        response_timeout_s: How long TorchServe waits for one batch before it ends the worker as hung and
            starts another; must not exceed what callers wait, or they never learn of it.
    """

    cuda_dtype: CudaDtype | None = None
    max_image_bytes: int | None = None
    max_image_pixels: int | None = None
    response_timeout_s: int = RESPONSE_TIMEOUT_S

    def __post_init__(self) -> None:
        """Refuse numbers below 1.

        Raises:
            InputError: The message names the option, its value and the rule.
        """
        for name in ("max_image_bytes", "max_image_pixels", "response_timeout_s"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: {value} must be at least 1")

    def model_config(self) -> dict[str, Any]:
        """The keys of model-config.yaml that these options decide."""
        limits = {"max_image_bytes": self.max_image_bytes, "max_image_pixels": self.max_image_pixels}
        given = {name: value for name, value in limits.items() if value is not None}
        return {"responseTimeout": self.response_timeout_s, **({"handler": given} if given else {})}


DEFAULT_OPTIONS: Final = ServingOptions()
