"""Ray Serve: one deployment with one replica on a Ray of its own, and its `serve.batch`."""

from __future__ import annotations

import signal

import ray
from peer_net import PeerNet
from peer_options import LOOPBACK, options
from ray import serve
from starlette.requests import Request

found = options()


@serve.deployment(num_replicas=1, max_ongoing_requests=found.settings["max_ongoing_requests"])
class Peer:
    """Takes the bare body."""

    def __init__(self) -> None:
        """Load the net in the replica's process."""
        self.net = PeerNet(found.net, tuned=found.tuned)

    @serve.batch(
        max_batch_size=found.settings["max_batch_size"],
        batch_wait_timeout_s=found.settings["batch_wait_timeout_s"],
    )
    async def classify(self, blobs: list[bytes]) -> list[dict[str, float]]:
        """Decode and classify what was gathered."""
        return self.net.classify(blobs)

    async def __call__(self, request: Request) -> dict[str, float]:
        """Answer a request."""
        return await self.classify(await request.body())


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": found.settings.get("environment", {})},
    )
    serve.start(
        http_options={"host": LOOPBACK, "port": found.ports[0]}, logging_config={"enable_access_log": False}
    )
    serve.run(Peer.bind())  # type: ignore[attr-defined]  # the decorator adds it
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
