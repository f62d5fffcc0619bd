"""LitServe: decode_request, predict, encode_response; its own batching.

Without postponed annotations: LitServe compares the type of `request` with the class itself.
"""

from typing import Any

import litserve
from fastapi import Request
from peer_net import PeerNet
from peer_options import LOOPBACK, options

found = options()


class Api(litserve.LitAPI):
    """Takes a form's file, `content`."""

    def setup(self, device: str) -> None:
        """Load the net in the worker's process."""
        del device
        self.net = PeerNet(found.net, tuned=found.tuned)

    def decode_request(self, request: Request) -> bytes:
        """Read the file of the form."""
        return request["content"].file.read()

    def predict(self, inputs: bytes | list[bytes]) -> dict[str, float] | list[dict[str, float]]:
        """Decode and classify one, or a batch where the server gathers them."""
        if isinstance(inputs, bytes):
            return self.net.classify([inputs])[0]
        return self.net.classify(inputs)

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Keep the list: images of different sizes cannot be stacked before they are resized."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Give one answer to each."""
        return output

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        """Leave it to LitServe to write JSON."""
        return output


if __name__ == "__main__":
    api = Api(
        max_batch_size=found.settings["max_batch_size"],
        batch_timeout=found.settings["batch_timeout"],
    )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, fast_queue=found.settings["fast_queue"]
    )
    server.run(
        host=LOOPBACK,
        port=found.ports[0],
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
