"""Calls both doors with Triton's own clients and prints what they understood, as JSON.

A program of its own: its generated `inference` messages cannot live in one process with ours.
Arguments: the HTTP address and the gRPC address, host:port.
"""

from __future__ import annotations

import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http


def common(api: Any, client: Any) -> dict[str, Any]:  # noqa: ANN401  the clients have no types
    """Do what both clients offer in the same words."""
    image = api.InferInput("image", [2, 1], "BYTES")
    image.set_data_from_numpy(np.array([[b"\x89PNG\x00"], [b"x"]], dtype=np.object_))
    result = client.infer("digits", [image], request_id="7", priority=1, timeout=5_000_000)
    pixels = api.InferInput("input", [1, 3, 2, 2], "FP32")
    pixels.set_data_from_numpy(np.zeros((1, 3, 2, 2), np.float32))
    outputs = [api.InferRequestedOutput("label"), api.InferRequestedOutput("probabilities")]
    named = client.infer("digits", [pixels], model_version="3", outputs=outputs)
    client.load_model("new")
    client.unload_model("new")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("digits"),
        "probabilities": result.as_numpy("probabilities").tolist(),
        "label": [label.decode() for label in result.as_numpy("label")],
        "named": named.as_numpy("probabilities").tolist(),
        "error": _error(lambda: client.infer("nobody", [pixels])),
    }


def over_http(address: str) -> dict[str, Any]:
    """Use Triton's HTTP client."""
    with tritonclient.http.InferenceServerClient(address) as client:
        plain = tritonclient.http.InferInput("image", [1], "BYTES")
        plain.set_data_from_numpy(np.array(["text"], dtype=np.object_), binary_data=False)
        output = tritonclient.http.InferRequestedOutput("label", binary_data=False)
        compression = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}
        as_json = client.infer("digits", [plain], outputs=[output], **compression)
        return {
            **common(tritonclient.http, client),
            "id": as_json.get_response()["model_version"],
            "json_label": as_json.as_numpy("label").tolist(),
            "metadata": client.get_server_metadata()["extensions"],
            "model_metadata": client.get_model_metadata("digits")["versions"],
            "config": client.get_model_config("digits")["max_batch_size"],
            "index": sorted(entry["name"] for entry in client.get_model_repository_index()),
            "statistics": client.get_inference_statistics()["model_stats"][0]["inference_count"],
        }


def over_grpc(address: str) -> dict[str, Any]:
    """Use Triton's gRPC client."""
    with tritonclient.grpc.InferenceServerClient(address) as client:
        return {
            **common(tritonclient.grpc, client),
            "stream": _stream(client),
            "metadata": list(client.get_server_metadata().extensions),
            "model_metadata": list(client.get_model_metadata("digits").versions),
            "config": client.get_model_config("digits").config.max_batch_size,
            "index": sorted(entry.name for entry in client.get_model_repository_index().models),
            "statistics": client.get_inference_statistics().model_stats[0].inference_count,
        }


def _stream(client: Any) -> list[str]:  # noqa: ANN401
    answers: queue.Queue[str] = queue.Queue()

    def note(result: Any, error: Any) -> None:  # noqa: ANN401
        answers.put(str(error) if error else result.get_response().model_version)

    image = tritonclient.grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([b"x"], dtype=np.object_))
    client.start_stream(note)
    for model in ("digits", "nobody", "digits"):
        client.async_stream_infer(model, [image])
    heard = [answers.get(timeout=10) for _ in range(3)]
    client.stop_stream()
    return heard


def _error(call: Any) -> str:  # noqa: ANN401
    try:
        call()
    except tritonclient.utils.InferenceServerException as err:
        return f"{err.status()} {err.message()}"
    return "none"


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"http": over_http(sys.argv[1]), "grpc": over_grpc(sys.argv[2])}))
