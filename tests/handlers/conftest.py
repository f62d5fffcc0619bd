"""A tiny archive, a stand-in for TorchServe's context, and images made in code."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from handlers.classify import Classifier

SIDE = 16
LABELS = ("black", "red", "green", "blue")
MEAN = (0.1, 0.2, 0.3)
STD = (0.5, 0.6, 0.7)


class TinyNet(nn.Module):
    """Three layers; the two gates of `explain` are the mean brightness and its complement."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2)
        self.head = nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,4] of x [N,3,H,W]."""
        features = torch.relu(self.convolution(x)).mean(dim=[2, 3])
        logits: Tensor = self.head(features)
        return logits

    @torch.jit.export
    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N,4] and gates [N,2]."""
        brightness = torch.sigmoid(x.mean(dim=[1, 2, 3]))
        return self.forward(x), torch.stack([brightness, 1 - brightness], dim=1)


@dataclass
class FakeContext:
    """What the handler sees of TorchServe, and what it told TorchServe."""

    system_properties: dict[str, object]
    model_yaml_config: dict[str, object] | None = None
    content_types: dict[int, str] = field(default_factory=dict)
    statuses: dict[int, tuple[int, str]] = field(default_factory=dict)

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Remember."""
        self.content_types[idx] = value

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Remember."""
        self.statuses[idx] = (code, phrase)


@dataclass(frozen=True)
class Archive:
    """An unpacked archive that a test may change; `seal` makes its SHA256SUMS right again."""

    folder: Path

    @property
    def signature(self) -> dict[str, object]:
        """signature.json as it is now."""
        document: dict[str, object] = json.loads((self.folder / "signature.json").read_text())
        return document

    def write(self, document: Mapping[str, object]) -> None:
        """Replace signature.json and seal."""
        (self.folder / "signature.json").write_text(json.dumps(document))
        self.seal()

    def rewrite(self, **changes: object) -> None:
        """Change top-level keys of signature.json and seal."""
        self.write({**self.signature, **changes})

    def replace_net(self, net: nn.Module, *, labels: Sequence[str]) -> None:
        """Another net without gates, with samples of its own."""
        samples = torch.randn(2, 3, SIDE, SIDE)
        save_scripted(net, self.folder / "model.pt")
        with torch.inference_mode():
            np.savez(self.folder / "parity.npz", input=samples.numpy(), logits=net(samples).numpy())
        self.rewrite(labels=list(labels), attention_layout=[])

    @property
    def contents_sha256(self) -> str:
        """The digest of the list of digests."""
        return hashlib.sha256((self.folder / "SHA256SUMS").read_bytes()).hexdigest()

    def seal(self) -> None:
        """List every file in SHA256SUMS."""
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
            for path in sorted(self.folder.iterdir())
            if path.name != "SHA256SUMS"
        ]
        (self.folder / "SHA256SUMS").write_text("".join(lines))

    def load(
        self, *, gpu_id: int | None = None, config: dict[str, object] | None = None
    ) -> tuple[Classifier, FakeContext]:
        """An initialised handler and its context."""
        properties: dict[str, object] = {"model_dir": str(self.folder), "gpu_id": gpu_id}
        context = FakeContext(system_properties=properties, model_yaml_config=config)
        classifier = Classifier()
        classifier.initialize(context)
        return classifier, context


def save_scripted(net: nn.Module, path: Path, preserved_attrs: Sequence[str] = ()) -> None:
    """Script, freeze and save a net."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own notice
        frozen = torch.jit.freeze(torch.jit.script(net.eval()), preserved_attrs=list(preserved_attrs))
        torch.jit.save(frozen, path)


def signature() -> dict[str, object]:
    """signature.json of the tiny net."""
    return {
        "format": 1,
        "name": "tiny",
        "version": "3",
        "architecture": "torchscript",
        "family": "test",
        "attention": "unknown",
        "trained": False,
        "input": {
            "size": [SIDE, SIDE],
            "resize": {"method": "stretch", "size": [SIDE, SIDE], "interpolation": "bilinear"},
            "mean": list(MEAN),
            "std": list(STD),
        },
        "dtype": {"cpu": "float32", "cuda": "float16"},
        "labels": list(LABELS),
        "attention_layout": [{"block": "gate", "channels": 2, "branches": 1}],
        "batch_buckets": [1, 2, 4],
        "threads": None,
        "weights_sha256": "0" * 64,
        "parity": {
            "tolerance": 1e-4,
            "max_abs_error": 0.0,
            "batch_sizes": [1],
            "form": "script",
            "samples": "random",
        },
        "card": {},
    }


@pytest.fixture(scope="session")
def net() -> TinyNet:
    """The eager net."""
    torch.manual_seed(0)
    return TinyNet().eval()


@pytest.fixture(scope="session")
def archive_files(net: TinyNet, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What the archive holds, by name."""
    folder = tmp_path_factory.mktemp("files")
    save_scripted(net, folder / "model.pt", preserved_attrs=["explain"])
    samples = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        np.savez(folder / "parity.npz", input=samples.numpy(), logits=net(samples).numpy())
    (folder / "signature.json").write_text(json.dumps(signature()))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def archive(archive_files: Mapping[str, bytes], tmp_path: Path) -> Archive:
    """A fresh copy."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, data in archive_files.items():
        (folder / name).write_bytes(data)
    made = Archive(folder)
    made.seal()
    return made


@pytest.fixture
def loaded(archive: Archive) -> tuple[Classifier, FakeContext]:
    """The handler of the tiny archive, ready, and its context."""
    return archive.load()


Encode = Callable[..., bytes]


@pytest.fixture
def encode() -> Encode:
    """Turns an image, or a colour, into a file: kind, picture, size of a coloured one, options of `save`."""

    def encoded(
        kind: str,
        picture: Image.Image | str | tuple[int, ...],
        size: tuple[int, int] = (SIDE, SIDE),
        **options: object,
    ) -> bytes:
        image = picture if isinstance(picture, Image.Image) else Image.new("RGB", size, picture)
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return encoded


@dataclass(frozen=True)
class Answer:
    """A packed reply, taken apart as its layout says."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[np.float32]]


Pack = Callable[..., dict[str, bytes]]
Unpack = Callable[[bytes], Answer]


@pytest.fixture
def pack() -> Pack:
    """Makes a packed request: parts of the header, blobs, names of the outputs."""

    def packed(
        parts: Sequence[Mapping[str, object]],
        blobs: Sequence[bytes],
        outputs: Sequence[str] = ("probabilities",),
    ) -> dict[str, bytes]:
        header = {"version": 1, "outputs": list(outputs), "parts": list(parts)}
        return {"attnserve": json.dumps(header).encode(), **{str(n): blob for n, blob in enumerate(blobs)}}

    return packed


@pytest.fixture
def unpack() -> Unpack:
    """Read a packed reply and check its frame."""

    def unpacked(reply: bytes) -> Answer:
        magic, version, length = struct.unpack_from("<4sB3xI4x", reply)
        assert (magic, version, length % 8, len(reply) % 8) == (b"ATSR", 1, 0, 0)
        header = json.loads(reply[16 : 16 + length])
        arrays: dict[str, NDArray[np.float32]] = {}
        offset = 16 + length
        for output in header.get("outputs", []):
            count = int(np.prod(output["shape"]))
            arrays[output["name"]] = np.frombuffer(reply, "<f4", count, offset).reshape(output["shape"])
            offset += -(-4 * count // 8) * 8
        assert offset == len(reply)
        return Answer(header=header, arrays=arrays)

    return unpacked
