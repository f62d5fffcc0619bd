"""What a user of tritonclient does; a program of its own, since its stubs and ours exclude each other.

`python triton_calls.py grpc|http ADDRESS SAMPLES_DIR MODEL` prints a JSON object with what came back.
"""

from __future__ import annotations

import importlib
import io
import json
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMPRESSION = {
    "grpc": {"compression_algorithm": "gzip"},
    "http": {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
}


class Calls:
    """The calls, over one protocol; both modules of tritonclient have the same names."""

    def __init__(self, protocol: str, address: str, samples: Path, model: str) -> None:
        self.protocol = protocol
        self.module = importlib.import_module(f"tritonclient.{protocol}")
        self.client = self.module.InferenceServerClient(address)
        self.files = [path.read_bytes() for path in sorted(samples.iterdir())]
        self.model = model

    def document(self, name: str, *arguments: str) -> Any:  # noqa: ANN401  JSON
        """Call a method that returns JSON over HTTP, and over gRPC when it is asked to."""
        more = {"as_json": True} if self.protocol == "grpc" else {}
        return getattr(self.client, name)(*arguments, **more)

    def infer(self, name: str, datatype: str, array: np.ndarray[Any, Any], **more: Any) -> Any:  # noqa: ANN401
        """Infer with one input."""
        tensor = self.module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        return self.client.infer(self.model, [tensor], **more)

    def infer_images(self, **more: Any) -> Any:  # noqa: ANN401  tritonclient's InferResult
        """Infer with all samples as files."""
        return self.infer("image", "BYTES", np.array(self.files, dtype=object), **more)

    def labels(self, result: Any) -> list[str]:  # noqa: ANN401  as above
        """The output `label`."""
        return [label.decode() for label in result.as_numpy("label")]

    def health(self) -> list[bool]:
        """Live, ready, model ready, and a model that there is not."""
        client = self.client
        return [client.is_server_live(), client.is_server_ready(), client.is_model_ready(self.model)]

    def images(self) -> list[str]:
        """Files in."""
        return self.labels(self.infer_images())

    def pixels(self) -> list[str]:
        """Pixels in."""
        pixels = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in self.files]
        return self.labels(self.infer("pixels", "UINT8", np.stack(pixels)))

    def zeros(self) -> list[Any]:
        """A normalised input in: the net's size is learned from the metadata."""
        metadata = self.document("get_model_metadata", self.model)
        (shape,) = (tensor["shape"] for tensor in metadata["inputs"] if tensor["name"] == "input")
        array = np.zeros([2, *map(int, shape[1:])], dtype=np.float32)
        rows = self.infer("input", "FP32", array).as_numpy("probabilities")
        return [list(rows.shape), rows.sum(axis=1).tolist()]

    def request_id(self) -> str:
        """What comes back as the request's id."""
        response = self.infer_images(request_id="mine").get_response()
        return str(response["id"] if isinstance(response, dict) else response.id)

    def classification(self) -> list[list[str]]:
        """The two best classes of each image."""
        wanted = [self.module.InferRequestedOutput("probabilities", class_count=2)]
        rows = self.infer_images(outputs=wanted).as_numpy("probabilities")
        return [[text.decode() for text in row] for row in rows]

    def compressed(self) -> list[str]:
        """Files in, request and response compressed."""
        return self.labels(self.infer_images(**COMPRESSION[self.protocol]))

    def metadata(self) -> list[Any]:
        """Of the server and of the model."""
        return [self.document("get_server_metadata"), self.document("get_model_metadata", self.model)]

    def config(self) -> Any:  # noqa: ANN401  JSON
        """The model's configuration."""
        return self.document("get_model_config", self.model)

    def statistics(self) -> list[int]:
        """By how much a request of all samples counts: requests, images."""
        before, _, after = self._counts(), self.infer_images(), self._counts()
        return [now - then for now, then in zip(after, before, strict=True)]

    def _counts(self) -> list[int]:
        (usage,) = self.document("get_inference_statistics", self.model)["model_stats"]
        return [int(usage["inference_stats"]["success"]["count"]), int(usage["inference_count"])]

    def repository(self) -> list[str]:
        """The model's state at first, after unload, and after load."""
        states = [self._state()]
        self.client.unload_model(self.model)
        try:
            states += [self._state(), str(self.client.is_model_ready(self.model))]
        finally:
            self.client.load_model(self.model)
        return [*states, self._state(), str(self.client.is_model_ready(self.model))]

    def _state(self) -> str:
        index = self.document("get_model_repository_index")
        entries = index["models"] if isinstance(index, dict) else index
        (state,) = (entry["state"] for entry in entries if entry["name"] == self.model)
        return str(state)

    def error(self) -> list[str]:
        """Status and message of a request for a model that there is not."""
        exception = importlib.import_module("tritonclient.utils").InferenceServerException
        self.model, model = "stranger", self.model
        try:
            self.infer_images()
        except exception as refusal:
            return [refusal.status(), refusal.message()]
        finally:
            self.model = model
        return []

    def stream(self) -> list[str]:
        """The labels of a stream of two requests; only gRPC has it."""
        if self.protocol == "http":
            return []
        answers: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put(error or result))
        tensor = self.module.InferInput("image", [1], "BYTES")
        for file in self.files[:2]:
            tensor.set_data_from_numpy(np.array([file], dtype=object))
            self.client.async_stream_infer(self.model, [tensor])
        labels = [label for _ in range(2) for label in self.labels(answers.get(timeout=30))]
        self.client.stop_stream()
        return labels


def main() -> None:
    """Make every call and print what came back."""
    protocol, address, samples, model = sys.argv[1:]
    calls = Calls(protocol, address, Path(samples), model)
    steps: tuple[Callable[[], Any], ...] = (
        calls.health,
        calls.images,
        calls.pixels,
        calls.zeros,
        calls.request_id,
        calls.classification,
        calls.compressed,
        calls.metadata,
        calls.config,
        calls.statistics,
        calls.repository,
        calls.error,
        calls.stream,
    )
    print(json.dumps({step.__name__: step() for step in steps}))  # noqa: T201  this is the program's output
    calls.client.close()


if __name__ == "__main__":
    main()
