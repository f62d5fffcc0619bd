"""BentoML: a service whose API is batchable; `bentoml serve serve_bentoml:Peer`."""

from __future__ import annotations

from pathlib import Path

import bentoml
from peer_net import PeerNet
from peer_options import options

found = options()


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1000})
class Peer:
    """Takes a form's file, `images`."""

    def __init__(self) -> None:
        """Load the net in the worker's process."""
        self.net = PeerNet(found.net, tuned=found.tuned)

    @bentoml.api(
        batchable=True,
        max_batch_size=found.settings["max_batch_size"],
        max_latency_ms=found.settings["max_latency_ms"],
    )
    def classify(self, images: list[Path]) -> list[dict[str, float]]:
        """Decode and classify what was gathered."""
        return self.net.classify([image.read_bytes() for image in images])
