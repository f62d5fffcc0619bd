"""Archives whose handler does what the images say; see obedient_handler.py."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

HANDLER = Path(__file__).parent / "obedient_handler.py"
CONFIG = "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 5\nmaxRetryTimeoutInSec: 30\njobQueueSize: 1\n"
SIGNATURE = {
    "format": 1,
    "input": {"size": [8, 8]},
    "labels": ["a", "b"],
    "attention": "none",
    "attention_layout": [],
    "trained": True,
    "batch_buckets": [1, 4],
}

PutArchive = Callable[..., str]


@pytest.fixture(scope="session")
def put_archive() -> PutArchive:
    """A function that writes NAME-VERSION.mar into a store and gives its file name."""

    def put(store: Path, name: str, version: str = "1", config: str = "") -> str:
        model = {
            "modelName": name,
            "modelVersion": version,
            "handler": "attn_entry.py",
            "configFile": "model-config.yaml",
        }
        manifest = {"runtime": "python", "archiverVersion": "0.12.0", "model": model}
        path = store / f"{name}-{version}.mar"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
            archive.writestr("attn_entry.py", HANDLER.read_text())
            archive.writestr("signature.json", json.dumps(SIGNATURE | {"name": name, "version": version}))
            archive.writestr("model-config.yaml", CONFIG + config)
        return path.name

    return put
