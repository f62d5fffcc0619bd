"""The archive's net: loaded, moved, warmed up, checked against its own samples, and run on batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from .attn_archive import ArchiveError, Signature
from .attn_device import Placement, bucket_for, chunks, warm_up_runs
from .attn_preprocess import normalise
from .attn_wire import Floats

MODEL: Final = "model.pt"
EXPLAIN: Final = "explain.pt"
SAMPLES: Final = "parity.npz"

Explain: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetInput:
    """G items for the net, already decoded: first the M images, then the T finished inputs.

    Attributes:
        pixels: uint8 [M,H,W,3], in the CPU's memory (pinned when a GPU reads it).
        tensors: float32 [T,3,H,W], normalised, as `pixels` in memory.
    """

    pixels: Tensor
    tensors: Tensor

    def __len__(self) -> int:
        return len(self.pixels) + len(self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOutput:
    """What the net said: logits float32 [G,K], and gates float32 [G,C] where they were asked for."""

    logits: Floats
    gates: Floats | None


class Net:
    """A TorchScript classifier on its device.

    Attributes:
        placement: Device and precision.
        explains: Whether it can also return its gates.
    """

    def __init__(self, folder: Path, signature: Signature, placement: Placement) -> None:
        self.placement = placement
        self._signature = signature
        self._modules = [_load(folder / MODEL, placement)]
        self._explain = self._find_explain(folder)
        self.explains = self._explain is not None

    def _find_explain(self, folder: Path) -> Explain | None:
        if not self._signature.gate_columns:
            return None
        if (folder / EXPLAIN).exists():
            self._modules.append(_load(folder / EXPLAIN, self.placement))
        module = self._modules[-1]
        if hasattr(module, "explain"):
            return module.explain  # type: ignore[no-any-return] # a TorchScript method is untyped
        if len(self._modules) > 1:
            return module
        raise ArchiveError(
            f"{MODEL}: signature.json has an attention_layout, but the net has no method `explain`"
        )

    @torch.inference_mode()
    def __call__(self, batch: NetInput, *, explain: bool = False) -> NetOutput:
        """Run the forward pass in chunks of at most the largest bucket; one synchronisation for all."""
        found = [
            self._chunk(batch, rows, explain=explain) for rows in chunks(len(batch), self._signature.buckets)
        ]
        logits = torch.cat([logits for logits, _ in found]).float()
        gates = torch.cat([gates for _, gates in found]).float() if explain else None
        if gates is None:
            return NetOutput(logits=logits.cpu().numpy(), gates=None)
        both = torch.cat([logits, gates], dim=1).cpu().numpy()
        columns = logits.shape[1]
        return NetOutput(logits=both[:, :columns], gates=both[:, columns:])

    def _chunk(self, batch: NetInput, rows: range, *, explain: bool) -> tuple[Tensor, Tensor]:
        """Logits and gates of some rows, still on the device; without `explain` the logits stand for both."""
        x = self._input(batch, rows)
        if self.placement.on_cuda:
            x = padded(x, bucket_for(len(x), self._signature.buckets))
        if explain and self._explain is not None:
            logits, gates = self._explain(x)
        else:
            logits = gates = self._modules[0](x)
        return logits[: len(rows)], gates[: len(rows)]

    def _input(self, batch: NetInput, rows: range) -> Tensor:
        """Some rows of a batch, normalised, on the device and in the precision of the net."""
        images, recipe = len(batch.pixels), self._signature.recipe
        pixels = batch.pixels[rows.start : rows.stop].to(self.placement.device, non_blocking=True)
        tensors = batch.tensors[max(rows.start - images, 0) : max(rows.stop - images, 0)]
        kinds = [
            normalise(pixels, recipe.mean, recipe.std),
            tensors.to(self.placement.device, non_blocking=True),
        ]
        present = [kind for kind in kinds if len(kind)]
        x = present[0] if len(present) == 1 else torch.cat(present)
        return x.to(self.placement.dtype)

    def warm_up(self) -> None:
        """Run every batch bucket, so that no request pays for compilation, and check the outputs' shapes.

        Raises:
            ArchiveError: The net's outputs do not have the columns that signature.json promises.
        """
        height, width = self._signature.recipe.size
        for run in warm_up_runs(self._signature.buckets, self.placement, explains=self.explains):
            pixels = torch.zeros(run.size, height, width, 3, dtype=torch.uint8)
            batch = NetInput(pixels=pixels, tensors=torch.zeros(0, 3, height, width))
            self._check_columns(self(batch, explain=run.explain))

    def _check_columns(self, output: NetOutput) -> None:
        found = [(output.logits, "logits", len(self._signature.labels), "labels")]
        if output.gates is not None:
            found.append((output.gates, "gates", self._signature.gate_columns, "columns of attention_layout"))
        for array, what, expected, source in found:
            if array.shape[1] != expected:
                raise ArchiveError(
                    f"{MODEL}: {array.shape[1]} {what} for {expected} {source} in signature.json"
                )

    def check_parity(self, folder: Path) -> None:
        """Compare with the eager net's answers that travel in parity.npz.

        In half precision only the classes must agree, since the tolerance speaks of float32.

        Raises:
            ArchiveError: They disagree on this machine; the message gives the figure.
        """
        samples, expected = _samples(folder / SAMPLES)
        empty = torch.zeros(0, *self._signature.recipe.size, 3, dtype=torch.uint8)
        found = self(NetInput(pixels=empty, tensors=torch.from_numpy(samples))).logits
        if found.shape != expected.shape:
            raise ArchiveError(
                f"{SAMPLES}: logits have the shape {expected.shape}, the net gives {found.shape}"
            )
        if self.placement.dtype == torch.float32:
            _check_error(found, expected, self._signature.tolerance)
        else:
            _check_classes(found, expected)


def padded(x: Tensor, size: int) -> Tensor:
    """`x` [N,...] with zero rows up to `size`."""
    missing = size - len(x)
    return x if missing <= 0 else torch.cat([x, x.new_zeros(missing, *x.shape[1:])])


def cast(module: torch.jit.ScriptModule, dtype: torch.dtype) -> torch.jit.ScriptModule:
    """Change the precision of a TorchScript module, frozen or not.

    Freezing turns weights into constants of the graph, which `Module.to` does not reach.
    """
    module.to(dtype)
    for method in ("forward", "explain"):
        if not hasattr(module, method):
            continue
        for node in getattr(module, method).graph.findAllNodes("prim::Constant"):
            if (
                node.hasAttribute("value")
                and node.kindOf("value") == "t"
                and node.t("value").is_floating_point()
            ):
                node.t_("value", node.t("value").to(dtype))
    return module


def _load(path: Path, placement: Placement) -> torch.jit.ScriptModule:
    with _quiet_jit():
        try:
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call] # torch's lack
                str(path), map_location=placement.device
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ArchiveError(f"{path.name}: torch cannot load it: {error}") from error
        if placement.on_cuda:
            # Fusion would compile anew for several shapes, on requests' time; one general form suffices.
            torch.jit.set_fusion_strategy([("DYNAMIC", 1)])
    module.eval()
    return module if placement.dtype == torch.float32 else cast(module, placement.dtype)


@contextmanager
def _quiet_jit() -> Iterator[None]:
    """Hold back torch.jit's deprecation notice: TorchServe's format is TorchScript, and torch is pinned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=r".*torch\.jit")
        yield


def _samples(path: Path) -> tuple[Floats, Floats]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["input"].astype(np.float32), file["logits"].astype(np.float32)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ArchiveError(f"{path.name}: cannot be read: {error}") from error


def _check_error(found: Floats, expected: Floats, tolerance: float) -> None:
    error = float(
        np.abs(found - expected).max() / max(float(np.abs(expected).max()), np.finfo(np.float32).tiny)
    )
    if not error <= tolerance:
        raise ArchiveError(
            f"{SAMPLES}: on this machine the net's logits differ by {error:.3g} of the largest; "
            f"at most {tolerance:.3g} (parity.tolerance) are allowed"
        )


def _check_classes(found: Floats, expected: Floats) -> None:
    differing = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if differing:
        raise ArchiveError(
            f"{SAMPLES}: on this machine, in half precision, {differing} of {len(expected)} samples "
            "get another class"
        )
