"""A deterministic .mar: the same contents give the same bytes, in any folder and at any time.

Entries are stored uncompressed (weights hardly shrink, and zlib's output differs between its versions),
sorted by name, with a fixed date and fixed permissions. SHA256SUMS inside lists every other entry; the sha256
of that file, `contents_sha256`, names the archive's contents from within.
"""

from __future__ import annotations

import fcntl
import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from torch import Tensor

from model_store.errors import ArchiveError, InputError
from model_store.files import write_atomically
from model_store.options import DEFAULT_OPTIONS, ServingOptions
from model_store.recipe_table import ALONE, MODEL
from model_store.script import ExportedNet
from model_store.signature import Identity, Signature, document_bytes, require_card
from model_store.sums import SUMS, read_sums, sha256, sums_text

SIGNATURE: Final = "signature.json"
CONFIG: Final = "model-config.yaml"
MANIFEST: Final = "MAR-INF/MANIFEST.json"
ENTRY: Final = "attn_entry.py"
HANDLERS: Final = "attn_handlers"  # another name than the repository's, so that no installed package hides it
PARITY: Final = "parity.npz"

_ENTRY_SOURCE: Final = '''\
"""Where TorchServe starts: it wants exactly one class defined in the handler's module."""

try:
    from attn_handlers.classify import Classifier
except ImportError as error:
    # TorchServe takes an ImportError for a handler that is not there, and says so, whatever is missing.
    raise RuntimeError(f"the archive's handler cannot be imported: {error}") from error


class Handler(Classifier):
    """The classifier that came with this archive."""
'''
# The gateway forms the batches, so that TorchServe is to pass each request on at once. A delay of 0 would be
# read as "not set", which means 100 ms.
_MODEL_CONFIG: Final = {
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 1,
    "maxBatchDelay": 1,
    "startupTimeout": 300,
    "maxRetryTimeoutInSec": 60,
    "jobQueueSize": 100,
}
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
_MODE: Final = 0o100644 << 16  # a regular file, rw-r--r--, where a zip keeps it
_UNIX: Final = 3  # zip's number for the system that wrote it; Python's own choice depends on the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A packed model, not yet on disk."""

    file_name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Of the whole file."""
        return sha256(self.data)


def pack(signature: Signature, net: ExportedNet, options: ServingOptions = DEFAULT_OPTIONS) -> Archive:
    """Put a model and everything that serves it into one file.

    Args:
        signature: What the model is.
        net: The proven net.
        options: How workers are to serve it.

    Raises:
        InputError: The handlers' sources are not installed, or a recipe names a file that there is not.
    """
    models = {MODEL: net.model, **net.recipe_files}
    _require_files(signature, models)
    entries = {
        MANIFEST: _manifest(signature.identity),
        ENTRY: _ENTRY_SOURCE.encode(),
        **models,
        SIGNATURE: signature.to_json(),
        PARITY: _npz(input=net.samples, logits=net.logits),
        **_serving_entries(options),
    }
    return Archive(file_name=file_name(signature.identity), data=_sealed(entries))


def write_archive(folder: Path, archive: Archive) -> Path:
    """Write an archive and its line in the folder's SHA256SUMS; a reader never sees half a file.

    Args:
        folder: Made if missing.
        archive: Replaces a file of the same name.

    Returns:
        The archive's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.file_name
    with _locked(folder):
        write_atomically(path, archive.data)
        known = read_sums(folder / SUMS) if (folder / SUMS).exists() else {}
        kept = {name: digest for name, digest in known.items() if (folder / name).exists()}
        write_atomically(folder / SUMS, sums_text(kept | {path.name: archive.sha256}).encode())
    return path


def write_card(path: Path, additions: Mapping[str, Any], *, sha256_before: str) -> Path:
    """Put keys onto the card of an archive on disk; of its other entries only SHA256SUMS changes.

    Args:
        path: The archive, which is replaced, together with its line in the folder's SHA256SUMS.
        additions: Plain values; a key that the card has is replaced.
        sha256_before: Of the archive to which they apply.

    Returns:
        `path`.

    Raises:
        InputError: JSON cannot hold the additions.
        ArchiveError: The file is not the archive with that sha256 any more.
    """
    data = path.read_bytes()
    if sha256(data) != sha256_before:
        raise ArchiveError(f"archive: {str(path)!r} was changed by someone else; its card is left as it is")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if name != SUMS}
    document = json.loads(entries[SIGNATURE])
    document["card"] = {**document["card"], **additions}
    require_card(document["card"])
    entries[SIGNATURE] = document_bytes(document)
    return write_archive(path.parent, Archive(file_name=path.name, data=_sealed(entries)))


def file_name(identity: Identity) -> str:
    """NAME.mar for version 1, NAME-vVERSION.mar for later ones."""
    suffix = "" if identity.version == "1" else f"-v{identity.version}"
    return f"{identity.name}{suffix}.mar"


def is_current(path: Path, options: ServingOptions) -> bool:
    """Whether an intact archive would be served as a new one would: same handlers, same options.

    What was left to a measurement may be decided otherwise today: such an archive is not current.
    """
    expected = _serving_entries(options)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name in expected or name.startswith(f"{HANDLERS}/")]
        found = {name: archive.read(name) for name in names}
        document = json.loads(archive.read(SIGNATURE))
    return found == expected and _as_asked(document, options.settled(document["card"].get("macs")))


def _as_asked(document: Mapping[str, Any], options: ServingOptions) -> bool:
    """Whether signature.json has what these options, already settled, ask for."""
    names = options.recipe_names()
    found = {
        "recipes": tuple(recipe["name"] for recipe in document.get("recipes", [])) or ALONE,
        "cuda": document["dtype"]["cuda"],
        "threads": document["threads"] or "all",
        "spin": document.get("spin"),
    }
    return found == {
        "recipes": options.recipes if options.recipes == "auto" else names,
        "cuda": options.precision_on_cuda(names),
        "threads": options.threads,
        "spin": options.spin,
    }


def _serving_entries(options: ServingOptions) -> dict[str, bytes]:
    config = {**_MODEL_CONFIG, **options.model_config()}
    return {
        ENTRY: _ENTRY_SOURCE.encode(),
        CONFIG: yaml.safe_dump(config, sort_keys=False).encode(),
        **{f"{HANDLERS}/{name}": source for name, source in _handler_sources().items()},
    }


def _require_files(signature: Signature, models: Mapping[str, bytes]) -> None:
    named = {MODEL, *(recipe.file for recipe in signature.recipes)}
    for file in sorted(named ^ models.keys()):
        missing = "is not in the archive" if file in named else "is in the archive, but no recipe's file"
        raise InputError(f"recipes: {file!r} {missing}")


def _manifest(identity: Identity) -> bytes:
    # Without createdOn, which TorchServe does not read: it would make every build different.
    document = {
        "runtime": "python",
        "archiverVersion": "0.12.0",
        "model": {
            "modelName": identity.name,
            "modelVersion": identity.version,
            "handler": ENTRY,
            "serializedFile": MODEL,
            "configFile": CONFIG,
        },
    }
    return f"{json.dumps(document, indent=2)}\n".encode()


def _handler_sources() -> dict[str, bytes]:
    # Found as data, never imported: the foundry and the handlers share formats, not code.
    found = importlib.util.find_spec("handlers")
    if found is None or not found.submodule_search_locations:
        raise InputError("the package 'handlers', whose sources travel in every archive, is not installed")
    folder = Path(next(iter(found.submodule_search_locations)))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}


def _npz(**arrays: Tensor) -> bytes:
    buffer = io.BytesIO()
    # numpy stores uncompressed and dates every entry 1980-01-01, so equal arrays give equal bytes.
    np.savez(buffer, allow_pickle=False, **{name: tensor.numpy() for name, tensor in arrays.items()})
    return buffer.getvalue()


def _sealed(entries: Mapping[str, bytes]) -> bytes:
    sums = sums_text({name: sha256(data) for name, data in entries.items()})
    return _zip({**entries, SUMS: sums.encode()})


def _zip(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries.items()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = _UNIX
            info.external_attr = _MODE
            archive.writestr(info, data)
    return buffer.getvalue()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Two builds into one folder at a time would lose one's line of SHA256SUMS.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
