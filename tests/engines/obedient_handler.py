"""The handler of the tests' archive: it does what the image's bytes say. Runs in TorchServe's worker.

It has no network, loads at once, and speaks the packed format by itself, so that the tests of the engine
need neither torch nor the real handler.
"""

import json
import os
import struct
import time
from pathlib import Path
from typing import Any


class Handler:
    """Obeys the images of a batch.

    BAD fails alone, SLEEP:seconds sleeps, RAISE raises, EXIT:status ends the process, REFUSE refuses the
    batch, GARBAGE answers no packed reply, SHORT answers for an image less.
    """

    def initialize(self, context: Any) -> None:  # noqa: ANN401 - TorchServe's context has no types
        """Fails when the archive's model-config.yaml says so."""
        folder = Path(context.system_properties["model_dir"])
        self.signature = json.loads((folder / "signature.json").read_text())
        complaint = context.model_yaml_config.get("complaint")
        if complaint:
            raise {"ValueError": ValueError, "RuntimeError": RuntimeError}[complaint]("weights are missing")

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[bytes]:  # noqa: ANN401 - as above
        """Answers each packed request; the label is the image's length."""
        del context
        return [self._answer(row) for row in rows]

    def _answer(self, row: dict[str, Any]) -> bytes:
        header = json.loads(bytes(row["attnserve"]))
        if header.get("describe"):
            card = {"signature": self.signature, "contents_sha256": "", "device": "cpu", "handler": "1"}
            return _frame({"count": 0, "describe": card})
        images = [bytes(row[str(index)]) for index in range(len(row) - 1)]
        for image in images:
            verb, _, argument = image.partition(b":")
            if verb in _ACTIONS:
                _ACTIONS[verb](argument.decode())
        if b"GARBAGE" in images:
            return b"garbage"
        if b"REFUSE" in images:
            return _frame({"count": 0, "error": {"code": 3, "message": "refused on demand"}})
        return _predictions(images[: -1 if b"SHORT" in images else None])


def _raise(text: str) -> None:
    raise ValueError(text)


def _sleep(seconds: str) -> None:
    time.sleep(float(seconds))


def _exit(status: str) -> None:
    os._exit(int(status))


_ACTIONS = {b"SLEEP": _sleep, b"RAISE": _raise, b"EXIT": _exit}


def _predictions(images: list[bytes]) -> bytes:
    bad = [index for index, image in enumerate(images) if image == b"BAD"]
    rows = [[float("nan")] * 2 if image == b"BAD" else [len(image), os.getpid()] for image in images]
    header = {
        "count": len(images),
        "status": [3 if index in bad else 0 for index in range(len(images))],
        "messages": {str(index): "cannot decode" for index in bad},
        "outputs": [{"name": "probabilities", "dtype": "FP32", "shape": [len(images), 2]}],
        "timings_us": {"decode": 1, "inference": 2, "encode": 3},
        "device": "cpu",
    }
    return _frame(header, b"".join(struct.pack("<2f", *row) for row in rows))


def _frame(header: dict[str, Any], arrays: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<4sB3xI4x", b"ATSR", 1, len(text)) + text + arrays
