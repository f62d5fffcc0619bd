"""Later versions of a demo archive, made in a moment: each gives its classes other numbers than the others.

Version V puts class 0 into row V-1 of its outputs, in weights and labels alike. So every version names an
image with the same label and from another row, and an answer shows which weights and which card made it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.e2e.demo import list_again

Entries = dict[str, bytes]
Spoil = Callable[[Entries], None]


class Rolled(nn.Module):
    """A net whose classes are moved on by some rows."""

    def __init__(self, net: nn.Module, rows: int) -> None:
        super().__init__()
        self.net = net
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N,K] of images [N,3,H,W]."""
        logits: Tensor = self.net(x)
        return logits.roll(self.rows, 1)


def add_version(store: Path, source: Path, version: int, spoil: Spoil | None = None) -> Path:
    """Make a version out of an archive of version 1, and put it into a store as NAME-vVERSION.mar, listed.

    Args:
        store: The model store.
        source: The archive, of a net without attention.
        version: The number.
        spoil: Changes the entries; the archive's own sums fit afterwards, so that only this is wrong.
    """
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if name != "SHA256SUMS"}
    _renumber(entries, version)
    if spoil is not None:
        spoil(entries)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(entries.items()))
    path = store / f"{source.stem}-v{version}.mar"
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, data in (entries | {"SHA256SUMS": sums.encode()}).items():
            archive.writestr(name, data)
    os.replace(part, path)  # noqa: PTH105  says that it replaces
    list_again(path)
    return path


def _renumber(entries: Entries, version: int) -> None:
    rows = version - 1
    net = torch.jit.load(io.BytesIO(entries["model.pt"]), map_location="cpu")  # type: ignore[no-untyped-call]
    model = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(Rolled(net, rows).eval())), model)
    entries["model.pt"] = model.getvalue()
    with np.load(io.BytesIO(entries["parity.npz"])) as samples:
        _put_samples(entries, {"input": samples["input"], "logits": np.roll(samples["logits"], rows, axis=1)})
    signature = json.loads(entries["signature.json"])
    signature |= {"version": str(version), "labels": np.roll(signature["labels"], rows).tolist()}
    entries["signature.json"] = json.dumps(signature).encode()
    manifest = json.loads(entries["MAR-INF/MANIFEST.json"])
    manifest["model"]["modelVersion"] = str(version)
    entries["MAR-INF/MANIFEST.json"] = json.dumps(manifest).encode()


def _put_samples(entries: Entries, samples: Mapping[str, np.ndarray]) -> None:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **samples)
    entries["parity.npz"] = file.getvalue()


def wrong_samples(entries: Entries) -> None:
    """The net does not compute what the samples say."""
    with np.load(io.BytesIO(entries["parity.npz"])) as samples:
        _put_samples(entries, {"input": samples["input"], "logits": samples["logits"] + 1})


def broken_net(entries: Entries) -> None:
    """The TorchScript cannot be read."""
    entries["model.pt"] = entries["model.pt"][:-1000]


def code_at_load(code: str) -> Spoil:
    """Run some code when the model is loaded."""

    def spoil(entries: Entries) -> None:
        entries["attn_entry.py"] += f"\n    def initialize(self, ctx):\n        {code}\n".encode()

    return spoil


def code_at_batch(code: str) -> Spoil:
    """Run some code instead of answering."""

    def spoil(entries: Entries) -> None:
        entries["attn_entry.py"] += f"\n    def handle(self, data, ctx):\n        {code}\n".encode()

    return spoil
