"""The net's gates, which its portable form tells, whatever form classifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

import torch
from torch import Tensor

from .attn_archive import MODEL, ArchiveError
from .attn_module import load

EXPLAIN: Final = "explain.pt"

Explain: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class Gates:
    """Logits and gates of inputs; the module behind it is loaded when it is first asked.

    Threads may share one.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder = folder
        self._device = device
        self._lock = Lock()
        self._explain: Explain | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N,K] and gates [N,C] of x, float32 [N,3,H,W].

        Raises:
            ArchiveError: The archive has no net that tells its gates, or it cannot be loaded.
        """
        with self._lock:
            if self._explain is None:
                self._explain = self._load()
            explain = self._explain
        return explain(x)

    def keep(self, module: torch.jit.ScriptModule) -> None:
        """Use a module that is loaded anyway, where the archive has no file of its own for the gates."""
        if not (self._folder / EXPLAIN).exists():
            self._explain = _method(module)

    def release(self) -> None:
        """Give the memory back until somebody asks again."""
        with self._lock:
            self._explain = None

    def _load(self) -> Explain:
        own = self._folder / EXPLAIN
        if own.exists():
            module = load(own, self._device)
            return _method(module) if hasattr(module, "explain") else module
        return _method(load(self._folder / MODEL, self._device))


def _method(module: torch.jit.ScriptModule) -> Explain:
    if not hasattr(module, "explain"):
        raise ArchiveError(
            f"{MODEL}: signature.json has an attention_layout, but the net has no method `explain`"
        )
    return module.explain  # type: ignore[no-any-return] # a TorchScript method is untyped
