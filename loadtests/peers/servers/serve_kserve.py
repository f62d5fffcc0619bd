"""KServe's Python server: the Open Inference Protocol over gRPC; it does not batch by itself."""

from __future__ import annotations

import kserve
import numpy as np
from peer_net import PeerNet
from peer_options import options

found = options()


class Peer(kserve.Model):
    """Takes one image: BYTES [1], or UINT8 [1,H,W,3]."""

    def __init__(self) -> None:
        """Load the net."""
        super().__init__("net")
        self.net = PeerNet(found.net, tuned=found.tuned)
        self.ready = True

    def predict(self, payload: kserve.InferRequest, *_: object, **__: object) -> kserve.InferResponse:
        """Decode and classify."""
        array = payload.inputs[0].as_numpy()
        blobs = (
            [bytes(blob) for blob in array] if array.dtype == object else [image.tobytes() for image in array]
        )
        answers = self.net.classify(blobs)
        output = kserve.InferOutput("class", [len(answers)], "INT64")
        output.set_data_from_numpy(np.array([answer["class"] for answer in answers], np.int64))
        return kserve.InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    kserve.ModelServer(
        grpc_port=found.ports[0], http_port=found.ports[1], workers=1, enable_docs_url=False
    ).start([Peer()])
