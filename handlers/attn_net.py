"""The archive's net in one of its forms: warmed up, checked against the archive's samples, run on batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .attn_archive import MODEL, ArchiveError, Signature
from .attn_device import Placement, bucket_for, chunks, warm_up_runs
from .attn_gates import Gates
from .attn_graphs import BucketGraph, CudaRecorder, record_buckets
from .attn_module import cast, load
from .attn_parity import compare, read_samples
from .attn_preprocess import normalise
from .attn_wire import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class NetInput:
    """G items for the net, already decoded: first the M images, then the T finished inputs.

    Attributes:
        pixels: uint8 [M,H,W,3], in the CPU's memory (pinned when a GPU reads it), or decoded on the GPU.
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
        placement: Device, precision and memory format.
        explains: Whether it can also return its gates.
    """

    def __init__(
        self, folder: Path, signature: Signature, placement: Placement, *, file: str = MODEL
    ) -> None:
        """Load a form of the net.

        Args:
            folder: The unpacked archive.
            signature: What the archive says of itself.
            placement: Where and how to compute. model.pt is cast to its precision, any other file has it.
            file: The form's TorchScript file.

        Raises:
            ArchiveError: A file cannot be loaded, or the net has no gates although the signature says so.
        """
        self.placement = placement
        self._signature = signature
        self._file = file
        self._module = load(folder / file, placement.device)
        self.explains = signature.gate_columns > 0
        self._gates = Gates(folder, placement.device)
        # The gates come from the portable form. Where that is the one that classifies, one pass gives both.
        self._is_portable = file == MODEL and placement.dtype == torch.float32
        if self._is_portable and self.explains:
            self._gates.keep(self._module)
        if file == MODEL and not self._is_portable:
            self._module = cast(self._module, placement.dtype, placement.memory_format)
        self._graphs: dict[int, BucketGraph] = {}

    @torch.inference_mode()
    def __call__(self, batch: NetInput, *, explain: bool = False) -> NetOutput:
        """Run the forward pass; as `run` for one batch, which must not be empty."""
        output = self.run([batch], explain=explain)
        if output is None:
            raise ValueError("batch: must have at least one row")
        return output

    @torch.inference_mode()
    def run(self, batches: Iterable[NetInput], *, explain: bool) -> NetOutput | None:
        """Run the forward pass in chunks of at most the largest bucket; one synchronisation for all.

        Args:
            batches: Taken one by one: on a GPU the next is made while the last is still being computed.
            explain: Whether the gates are wanted too.

        Returns:
            The rows of all batches, in order; None where there are none.
        """
        buckets = self._signature.buckets
        found = [
            self._chunk(batch, rows, explain=explain)
            for batch in batches
            for rows in chunks(len(batch), buckets)
        ]
        if not found:
            return None
        logits = _joined([logits for logits, _ in found])
        if not explain:
            return NetOutput(logits=logits.cpu().numpy(), gates=None)
        both = torch.cat([logits, _joined([gates for _, gates in found])], dim=1).cpu().numpy()
        columns = logits.shape[1]
        return NetOutput(logits=both[:, :columns], gates=both[:, columns:])

    def _chunk(self, batch: NetInput, rows: range, *, explain: bool) -> tuple[Tensor, Tensor]:
        """Logits and gates of some rows, still on the device; without `explain` the logits stand for both."""
        x = self._input(batch, rows, self.placement)
        if explain and self._is_portable:
            logits, gates = self._gates(x)
            return logits[: len(rows)], gates[: len(rows)]
        # The logits are the served form's also here: nobody's answer depends on what a neighbour asks.
        logits = self._logits(x)[: len(rows)]
        if not explain:
            return logits, logits
        _, gates = self._gates(self._input(batch, rows, self.placement.portable))
        return logits, gates[: len(rows)]

    def _logits(self, x: Tensor) -> Tensor:
        graph = self._graphs.get(len(x))
        logits: Tensor = self._module(x) if graph is None else graph(x)
        return logits

    def _input(self, batch: NetInput, rows: range, placement: Placement) -> Tensor:
        """Some rows of a batch, normalised, on the device, as the net takes them; a GPU has whole buckets."""
        images, recipe = len(batch.pixels), self._signature.recipe
        device, dtype, memory_format = placement.device, placement.dtype, placement.memory_format
        pixels = batch.pixels[rows.start : rows.stop]
        tensors = batch.tensors[max(rows.start - images, 0) : max(rows.stop - images, 0)]
        kinds = []
        if len(pixels):
            pixels = pixels.to(device, non_blocking=True)
            normal = normalise(pixels, recipe.mean, recipe.std, dtype=dtype, memory_format=memory_format)
            kinds.append(normal)
        if len(tensors):
            kinds.append(tensors.to(device, dtype, non_blocking=True, memory_format=memory_format))
        x = kinds[0] if len(kinds) == 1 else torch.cat(kinds)
        return padded(x, bucket_for(len(x), self._signature.buckets)) if placement.on_cuda else x

    def warm_up(self) -> None:
        """Run every batch bucket, so that no request pays for compilation, and check the outputs' shapes.

        Gates that another form than the served one tells are tried once, and its memory is given back: it is
        loaded again when somebody asks for them.

        Raises:
            ArchiveError: The net's outputs do not have the columns that signature.json promises.
        """
        explains = self.explains and self._is_portable
        for run in warm_up_runs(self._signature.buckets, self.placement, explains=explains):
            self._check_columns(self(self._blank(run.size), explain=run.explain))
        if self.explains and not self._is_portable:
            self._check_columns(self(self._blank(1), explain=True))
            self._gates.release()
        if self.placement.on_cuda:
            recorder = CudaRecorder(self.placement.device)
            self._graphs = record_buckets(self._module, self._signature.buckets, self._noise, recorder)

    def _blank(self, size: int) -> NetInput:
        height, width = self._signature.recipe.size
        return NetInput(
            pixels=torch.zeros(size, height, width, 3, dtype=torch.uint8),
            tensors=torch.zeros(0, 3, height, width),
        )

    def _noise(self, size: int) -> Tensor:
        """A random input of `size` rows, as the net takes it."""
        pixels = torch.randint(256, self._blank(size).pixels.shape, dtype=torch.uint8)
        batch = replace(self._blank(0), pixels=pixels)
        return self._input(batch, range(size), self.placement)

    def _check_columns(self, output: NetOutput) -> None:
        _check_width(output.logits, self._file, "logits", len(self._signature.labels), "labels")
        if output.gates is not None:
            columns = self._signature.gate_columns
            _check_width(output.gates, MODEL, "gates", columns, "columns of attention_layout")

    def check_parity(self, folder: Path, tolerance: float | None) -> None:
        """Compare with the eager net's answers that travel in parity.npz.

        Args:
            folder: The unpacked archive.
            tolerance: Largest error, relative to the largest logit; None: only the classes must agree.

        Raises:
            ArchiveError: They disagree on this machine; the message gives the figure.
        """
        samples, expected = read_samples(folder)
        found = self(replace(self._blank(0), tensors=torch.from_numpy(samples)))
        compare(found.logits, expected, tolerance)


def padded(x: Tensor, size: int) -> Tensor:
    """`x` [N,...] with zero rows up to `size`, in the memory format of `x`."""
    missing = size - len(x)
    before_rows = [0, 0] * (x.dim() - 1)  # the last dimension comes first
    return x if missing <= 0 else torch.nn.functional.pad(x, [*before_rows, 0, missing])


def _check_width(array: Floats, file: str, what: str, expected: int, source: str) -> None:
    if array.shape[1] != expected:
        raise ArchiveError(f"{file}: {array.shape[1]} {what} for {expected} {source} in signature.json")


def _joined(parts: list[Tensor]) -> Tensor:
    """Rows of all parts, as float32."""
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).float()
