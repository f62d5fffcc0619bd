"""MLServer with a custom runtime: the Open Inference Protocol over gRPC, and its adaptive batching."""

from __future__ import annotations

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from peer_net import PeerNet
from peer_options import LOOPBACK, options

found = options()


class Peer(MLModel):
    """Takes images: BYTES [N], or UINT8 [N,H,W,3]."""

    async def load(self) -> bool:
        """Load the net."""
        self.net = PeerNet(found.net, tuned=found.tuned)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode and classify the batch."""
        answers = self.net.classify(_blobs(payload.inputs[0]))
        classes = [answer["class"] for answer in answers]
        output = ResponseOutput(name="class", shape=[len(classes), 1], datatype="INT64", data=classes)
        return InferenceResponse(model_name=self.name, outputs=[output])


def _blobs(tensor: RequestInput) -> list[bytes]:
    data = tensor.data.root
    if tensor.datatype == "BYTES":
        return list(data)
    whole = bytes(data)
    size = len(whole) // tensor.shape[0]
    return [whole[at : at + size] for at in range(0, len(whole), size)]


async def main() -> None:
    """Serve until the process is asked to end."""
    settings = Settings(
        host=LOOPBACK,
        grpc_port=found.ports[0],
        http_port=found.ports[1],
        metrics_port=found.ports[2],
        parallel_workers=found.settings["parallel_workers"],
        debug=False,
    )
    model = ModelSettings(
        name="net",
        implementation="serve_mlserver.Peer",
        max_batch_size=found.settings["max_batch_size"],
        max_batch_time=found.settings["max_batch_time"],
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
