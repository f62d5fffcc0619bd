"""The nets that are compared: one archive for attnserve, and the same module file for every peer.

`real` is se_resnet50, `trivial` the mean of each channel and a linear layer: whatever time that takes is the
server's own. Both have random weights, for speed does not ask for training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from torch import Tensor, nn

from loadtests.bench.archives import REAL, is_stale, prepare

TRIVIAL: Final = "trivial"
PORTABLE: Final = "portable"
FUSED: Final = "cpu-fused"
SIZE: Final = 224
CLASSES: Final = 10
SEED: Final = 7
_INPUT: Final = {
    "size": [SIZE, SIZE],
    # The net's own size, so that raw pixels of that size are taken as they are, by the peers and by us.
    "resize": {"method": "shorter_side", "size": [224, 224], "interpolation": "bilinear"},
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersNet:
    """A module file for the peers.

    Attributes:
        model: Name of attnserve's model with the same net.
        recipe: Of the archive, whose file this is.
        folder: With `model.pt` and `net.json`; see `servers/peer_net.py`.
        labels: Of the classes, in their order.
        environment: OpenMP's variables, the same for all.
    """

    model: str
    recipe: str
    folder: Path
    labels: tuple[str, ...]
    environment: Mapping[str, str]


class Trivial(nn.Module):
    """The mean of each channel, and a linear layer: [N,3,H,W] -> [N,10]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Classify by mean colour."""
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def build(store: Path, models: Collection[str]) -> None:
    """Bring archives into a store folder, anew where code that makes them has changed.

    Raises:
        subprocess.CalledProcessError: One cannot be built; the builder has said why.
    """
    if REAL in models:
        prepare(store, (REAL,))
    if TRIVIAL in models and is_stale(store / f"{TRIVIAL}.mar"):
        build_trivial(store)


def build_trivial(store: Path) -> None:
    """Make the archive of the trivial net, from TorchScript as a user's own would be."""
    store.mkdir(parents=True, exist_ok=True)
    module, description = store / f"{TRIVIAL}.pt", store / f"{TRIVIAL}.yaml"
    torch.jit.save(torch.jit.script(Trivial().eval()), str(module))
    says = {"name": TRIVIAL, "labels": [f"colour {n}" for n in range(CLASSES)], "input": _INPUT, "threads": 1}
    description.write_text(yaml.safe_dump(says), encoding="utf-8")
    program = str(Path(sys.executable).with_name("attnserve"))
    command = [program, "build", "--torchscript", str(module), "--signature", str(description)]
    subprocess.run([*command, "--output", str(store)], check=True)  # noqa: S603  our own


def unpack(store: Path, model: str, recipe: str, folder: Path) -> PeersNet:
    """Write the files that peers load; without the recipe's own file in the archive, the portable one.

    Args:
        store: With the archives.
        model: Name of one.
        recipe: Whose file is wanted.
        folder: Gets a folder for this net.
    """
    with zipfile.ZipFile(store / f"{model}.mar") as archive:
        signature: dict[str, Any] = json.loads(archive.read("signature.json"))
        taken = _recipe(signature, recipe)
        place = folder / f"{model}-{taken['name']}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.pt").write_bytes(archive.read(taken["file"]))
    threads = signature["threads"] or len(os.sched_getaffinity(0))
    (place / "net.json").write_text(json.dumps(_spec(signature, taken, threads), indent=2), encoding="utf-8")
    spin = signature.get("spin")
    return PeersNet(
        model=model,
        recipe=taken["name"],
        folder=place,
        labels=tuple(signature["labels"]),
        environment={
            "OMP_NUM_THREADS": str(threads),
            **({} if spin is None else {"GOMP_SPINCOUNT": str(spin)}),
        },
    )


def unpack_archive(store: Path, model: str, folder: Path) -> Path:
    """Unpack a whole archive, as a worker does."""
    with zipfile.ZipFile(store / f"{model}.mar") as archive:
        archive.extractall(folder)
    return folder


def _recipe(signature: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
    portable = {"name": PORTABLE, "file": "model.pt", "dtype": "float32"}
    found: list[Mapping[str, Any]] = signature.get("recipes") or []
    return next((recipe for recipe in found if recipe["name"] == wanted), portable)


def _spec(signature: Mapping[str, Any], recipe: Mapping[str, Any], threads: int) -> dict[str, Any]:
    given = signature["input"]
    return {
        "size": given["size"],
        "resize": given["resize"]["size"],
        "interpolation": given["resize"]["interpolation"],
        "mean": given["mean"],
        "std": given["std"],
        "dtype": recipe["dtype"],
        "channels_last": recipe["name"] != PORTABLE,
        "threads": threads,
    }
