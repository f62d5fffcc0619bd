"""TorchScript files: loaded onto a device, brought to a precision and a memory format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from .attn_archive import ArchiveError

_IMAGES = 4  # dimensions of a weight, or an input, that has a channels_last form


def load(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """Load a TorchScript file onto its device, in the precision that it was saved in.

    Raises:
        ArchiveError: torch cannot read the file; the message names it.
    """
    with _quiet_jit():
        try:
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call] # torch's lack
                str(path), map_location=device
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ArchiveError(f"{path.name}: torch cannot load it: {error}") from error
        if device.type == "cuda":
            # Fusion would compile anew for several shapes, on requests' time; one general form suffices.
            torch.jit.set_fusion_strategy([("DYNAMIC", 1)])
    module.eval()
    return module


def cast(
    module: torch.jit.ScriptModule,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> torch.jit.ScriptModule:
    """Change the precision and memory format of a TorchScript module, frozen or not.

    Freezing turns weights into constants of the graph, which `Module.to` does not reach.
    """

    def changed(value: Tensor) -> Tensor:
        four = value.dim() == _IMAGES
        return value.to(dtype, memory_format=memory_format if four else torch.preserve_format)

    module.to(dtype=dtype, memory_format=memory_format)  # type: ignore[call-overload] # the stubs lack it
    for method in ("forward", "explain"):
        if not hasattr(module, method):
            continue
        for node in getattr(module, method).graph.findAllNodes("prim::Constant"):
            if (
                node.hasAttribute("value")
                and node.kindOf("value") == "t"
                and node.t("value").is_floating_point()
            ):
                node.t_("value", changed(node.t("value")))
    return module


@contextmanager
def _quiet_jit() -> Iterator[None]:
    """Hold back torch.jit's deprecation notice: TorchServe's format is TorchScript, and torch is pinned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=r".*torch\.jit")
        yield
