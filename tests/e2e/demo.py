"""The demo's archives and samples, built by the real command line once for each state of their sources."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.e2e.processes import ATTNSERVE, run

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / "build" / "test-demo"
BUILD_TIMEOUT_S = 600.0
MODELS = ("digits_eca", "digits_plain", "digits_se", "digits_sk")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A model store with the four digits nets, and held-out images `LABEL-N.png`."""

    archives: Path
    samples: Path

    @cached_property
    def images(self) -> tuple[bytes, ...]:
        """The samples' files, in the order of their names."""
        return tuple(path.read_bytes() for path in sorted(self.samples.iterdir()))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What each sample shows."""
        return tuple(path.name.partition("-")[0] for path in sorted(self.samples.iterdir()))

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The samples' pictures, [N,H,W,3]."""
        return np.stack([np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in self.images])

    @cached_property
    def inputs(self) -> NDArray[np.float32]:
        """The samples as digits_se takes them, [N,3,H,W], by the recipe in its signature."""
        with zipfile.ZipFile(self.archives / "digits_se.mar") as archive:
            recipe = json.loads(archive.read("signature.json"))["input"]
        height, width = recipe["size"]
        pictures = [
            Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR) for one in self.pixels
        ]
        normalised = (np.stack([np.asarray(one) for one in pictures]) / 255 - recipe["mean"]) / recipe["std"]
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), dtype="<f4")

    def share_right(self, answers: list[str]) -> float:
        """How many of the samples were named rightly, as a fraction."""
        return sum(map(str.__eq__, answers, self.labels)) / len(self.labels)


def build_demo() -> Demo:
    """Build what is not there yet; a build of the same sources is used again."""
    folder = BUILDS / _state_of_sources()
    demo = Demo(archives=folder / "archives", samples=folder / "samples")
    with _alone():
        if not (folder / "complete").exists():
            done = run(
                *(ATTNSERVE, "build", "--demo", "--output", demo.archives, "--samples", demo.samples),
                timeout_s=BUILD_TIMEOUT_S,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "complete").touch()
    return demo


def list_again(archive: Path) -> None:
    """Write the hash that an archive has now into the SHA256SUMS beside it."""
    listed = archive.with_name("SHA256SUMS")
    known = listed.read_text().splitlines() if listed.exists() else []
    kept = [line for line in known if not line.endswith(f"  {archive.name}")]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    listed.write_text("\n".join([*kept, f"{digest}  {archive.name}"]) + "\n")


def _state_of_sources() -> str:
    digest = hashlib.sha256()
    for folder in ("handlers", "model_store"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _alone() -> Iterator[None]:
    """Two test runs at once must not build into one folder."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
