"""The handler of an archive for a stock TorchServe, in the form of its base handler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peer_net import PeerNet
from torch import Tensor
from ts.context import Context
from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    """Takes one image a request; TorchServe gathers the requests."""

    def initialize(self, context: Context) -> None:
        """Load the net from the unpacked archive."""
        folder = Path(context.system_properties["model_dir"])
        self.net = PeerNet(folder, tuned=json.loads((folder / "settings.json").read_text())["tuned"])
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> Tensor:
        """Decode: REST calls the body `body` or `data`, gRPC what the caller calls it."""
        return self.net.decode([bytes(row["data"] if "data" in row else row["body"]) for row in data])

    def inference(self, data: Tensor, *_: object, **__: object) -> list[dict[str, float]]:
        """Run the net."""
        return self.net.infer(data)

    def postprocess(self, data: list[dict[str, float]]) -> list[dict[str, float]]:
        """Give one answer to each request."""
        return data
