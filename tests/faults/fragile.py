"""An archive like the demo's whose handler breaks on purpose: at a marked image, or when memory is short."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = b"this image ends whoever looks at it"
# More than malloc has at hand, so that each batch asks the kernel for it; it is never touched.
BATCH_BYTES = 64 << 20
_LAYER = f"""

import numpy

_handle = Classifier.handle


def _fragile(self, data, ctx):
    for row in data:
        if any(isinstance(value, (bytes, bytearray)) and {MARK!r} in value for value in row.values()):
            os._exit(1)
    numpy.empty({BATCH_BYTES}, numpy.uint8)
    return _handle(self, data, ctx)


Classifier.handle = _fragile
"""


def fragile_store(archive: Path, folder: Path) -> Path:
    """Write the fragile likeness of an archive into a folder, which is given back as a model store."""
    with zipfile.ZipFile(archive) as sound:
        entries = {name: sound.read(name) for name in sound.namelist()}
    entries["attn_handlers/classify.py"] += _LAYER.encode()
    listed = sorted(entries.keys() - {"SHA256SUMS"})
    sums = [f"{hashlib.sha256(entries[name]).hexdigest()}  {name}\n" for name in listed]
    entries["SHA256SUMS"] = "".join(sums).encode()
    with zipfile.ZipFile(folder / archive.name, "w") as fragile:
        for name, content in entries.items():
            fragile.writestr(name, content)
    return folder


def poisoned(image: bytes) -> bytes:
    """The same picture to anybody but the fragile handler; PNG readers stop at its end chunk."""
    return image + MARK


@contextmanager
def out_of_memory(worker: psutil.Process) -> Iterator[None]:
    """The kernel gives that process no memory for a batch while this lasts."""
    soft_hard = worker.rlimit(psutil.RLIMIT_AS)
    worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms + BATCH_BYTES // 4, soft_hard[1]))
    try:
        yield
    finally:
        worker.rlimit(psutil.RLIMIT_AS, soft_hard)
