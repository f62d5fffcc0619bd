"""Locust with this project's locustfile, against a fake gateway, as `python -m loadtests` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loadtests.exchanges import Exchanges, read_exchanges
from loadtests.running.launch import EXCHANGES, RESULT, Job, Launched, launch
from tests.loadtests.fake_gateway import LABELS, MODEL, FakeGateway

LOCUSTFILE = Path("loadtests/locustfile.py")
# The fake gateway answers whatever it is sent.
ANSWERED = ("--exclude-tags", "corrupt", "oversized")


def samples(folder: Path) -> Path:
    """An image for each label."""
    folder.mkdir()
    for label in LABELS:
        pixels = np.random.default_rng(int(label)).integers(0, 255, (28, 28), np.uint8)
        Image.fromarray(pixels).save(folder / f"{label}-1.png")
    return folder


def arguments(gateway: FakeGateway, folder: Path) -> tuple[str, ...]:
    """Those that every run needs."""
    return (
        *("--host", gateway.http, "--grpc", gateway.grpc, "--models", MODEL, "--accuracy-floor", "0"),
        *("--samples", str(samples(folder / "samples")), *ANSWERED, "--only-summary"),
    )


def by_hand(gateway: FakeGateway, folder: Path) -> list[str]:
    """The command of somebody who starts Locust without `python -m loadtests`."""
    files = ("--result", str(folder / RESULT), "--exchanges", str(folder / EXCHANGES))
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *arguments(gateway, folder), *files]


def run(gateway: FakeGateway, folder: Path, *more: str, workers: int = 0) -> tuple[Launched, Exchanges]:
    """Run Locust to its end."""
    launched = launch(
        Job(
            locustfile=LOCUSTFILE,
            arguments=(*arguments(gateway, folder), *more),
            seconds=30,
            workers=workers,
            folder=folder,
        )
    )
    return launched, read_exchanges(launched.exchanges)


def counts(launched: Launched) -> dict[tuple[str, str], int]:
    """Requests by protocol and outcome, as the tally has them."""
    requests: list[Any] = launched.result["tally"]["requests"]
    return {(protocol, outcome): count for _, protocol, outcome, count in requests}
