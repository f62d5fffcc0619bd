"""Health of the TorchServe in this pod, for exec probes: `worker_probe.py live|ready|canary`.

live    TorchServe's REST port answers
ready   every registered model has a worker process that is loaded
canary  every registered model classifies an image, through the whole path

Exit code 0, or 1 with the reason on standard error. Only the standard library: a probe runs every few
seconds and should cost little.
"""

import json
import struct
import sys
import urllib.request
import zlib
from typing import Any

INFERENCE = "http://127.0.0.1:8080"
MANAGEMENT = "http://127.0.0.1:8081"
TIMEOUT_S = 8.0


class UnhealthyError(Exception):
    """TorchServe, or one of its models, is not well; expected while it starts."""


def live(inference: str = INFERENCE, _management: str = MANAGEMENT) -> None:
    """Passes when TorchServe answers at all."""
    _fetch(f"{inference}/ping")


def ready(_inference: str = INFERENCE, management: str = MANAGEMENT) -> None:
    """Passes when every model has a worker in the state READY."""
    for name in _models(management):
        for version in _json(f"{management}/models/{name}"):
            states = [worker["status"] for worker in version["workers"]]
            if "READY" not in states:
                raise UnhealthyError(f"model {name}: no worker is READY, states are {states}")


def canary(inference: str = INFERENCE, management: str = MANAGEMENT) -> None:
    """Passes when every model gives a label to a small grey image."""
    for name in _models(management):
        answer = _json(f"{inference}/predictions/{name}", _grey_png(8))
        if "label" not in answer:
            raise UnhealthyError(f"model {name}: the answer has no label: {answer}")


PROBES = {"live": live, "ready": ready, "canary": canary}


def _models(management: str) -> list[str]:
    names = [model["modelName"] for model in _json(f"{management}/models?limit=1000")["models"]]
    if not names:
        raise UnhealthyError("no model is registered")
    return names


def _json(url: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - JSON
    return json.loads(_fetch(url, body))


def _fetch(url: str, body: bytes | None = None) -> bytes:
    """The body of the answer; without a body it is a GET, else a POST."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/octet-stream"})  # noqa: S310 - constant, loopback
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - as above
            return bytes(reply.read())
    except OSError as error:
        raise UnhealthyError(f"{url}: {error}") from error


def _grey_png(size: int) -> bytes:
    """A square grey image of `size` pixels: 8 bits, one channel."""
    rows = (b"\0" + b"\x80" * size) * size  # each row is led by its filter, 0: none
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def main(arguments: list[str]) -> int:
    """Runs the probe that the one argument names."""
    if len(arguments) != 1 or arguments[0] not in PROBES:
        print(f"usage: worker_probe.py {'|'.join(PROBES)}", file=sys.stderr)  # noqa: T201 - a program's answer
        return 2
    try:
        PROBES[arguments[0]]()
    except UnhealthyError as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
