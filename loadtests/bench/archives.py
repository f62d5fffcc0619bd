"""The archives that are measured, of a real net, a tiny and a trivial one; built anew when code changes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
import yaml
from torch import nn

from model_store.script import quiet_jit

REAL: Final = "se_resnet50"
TINY: Final = "digits_se"
TRIVIAL: Final = "trivial"
SIDE: Final = 224  # of the trivial net's input, in pixels
CLASSES: Final = 1000
_SOURCES: Final = ("handlers", "model_store")


def prepare(store: Path, names: Sequence[str] = (REAL, TINY), options: Sequence[str] = ()) -> None:
    """Bring archives into a store folder; speed does not ask for training.

    The builder chooses their recipes and threads, as it does for everybody.

    Args:
        store: The folder.
        names: Nets of the zoo, or `TRIVIAL`, a mean and a linear layer, which shows what all the rest costs.
        options: More of `attnserve build`.

    Raises:
        subprocess.CalledProcessError: One cannot be built; the builder has said why.
    """
    for name in names:
        if is_stale(store / f"{name}.mar"):
            store.mkdir(parents=True, exist_ok=True)
            what = _trivial(store.parent) if name == TRIVIAL else ("--arch", name, "--untrained")
            program = str(Path(sys.executable).with_name("attnserve"))
            subprocess.run([program, "build", *what, *options, "--output", str(store)], check=True)  # noqa: S603  our own


def unpack(store: Path, folder: Path, name: str = REAL) -> Path:
    """Unpack an archive, as a worker does."""
    with zipfile.ZipFile(store / f"{name}.mar") as archive:
        archive.extractall(folder)
    return folder


def _trivial(folder: Path) -> tuple[str, ...]:
    """Options that build the trivial net, as somebody's own TorchScript."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES)).eval()
    script, signature = folder / f"{TRIVIAL}.pt", folder / f"{TRIVIAL}.yaml"
    with quiet_jit():
        torch.jit.save(torch.jit.script(net), str(script))
    size = [SIDE, SIDE]
    document = {
        "name": TRIVIAL,
        "labels": [f"class {number}" for number in range(CLASSES)],
        "input": {
            "size": size,
            "resize": {"method": "shorter_side", "size": [256, 256], "interpolation": "bilinear"},
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
        },
        "threads": 1,  # a second one would only wait for the first
    }
    signature.write_text(yaml.safe_dump(document), encoding="utf-8")
    return "--torchscript", str(script), "--signature", str(signature)


def is_stale(archive: Path) -> bool:
    """Whether code that goes into an archive, or makes it, is newer."""
    return not archive.exists() or archive.stat().st_mtime < max(path.stat().st_mtime for path in _sources())


def _sources() -> Iterator[Path]:
    return (path for folder in _SOURCES for path in Path(folder).rglob("*.py"))
