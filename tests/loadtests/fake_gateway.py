"""A gateway that answers at once, or stalls when it is told to, and counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np

from loadtests.traffic.wire import HEADER_LENGTH, length_prefixed
from serve.pb import experiments_pb2 as epb
from serve.pb import open_inference_pb2 as pb
from serve.pb.experiments_pb2_grpc import ExperimentsServicer, add_ExperimentsServicer_to_server
from serve.pb.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

MODEL = "digits"
LABELS = tuple("0123456789")
THREADS = 96


@dataclass(slots=True)
class FakeGateway:
    """What it was asked, and how it is to answer.

    Attributes:
        experiment: Its replies carry a feedback token of that experiment; "" none.
        receipt: Of every outcome that it is told.
        shed: Every so-manieth inference request is refused as too many; 0: none.
        stall_s: So long it answers nothing, once, from request `stall_at` on.
        requests: Inference requests that it answered, by protocol and outcome.
        outcomes: It was told.
        tokens: Bearer tokens that it was shown with inference requests.
        timeouts_us: The parameter `timeout` of inference requests.
        units: That inference requests named.
    """

    experiment: str = ""
    receipt: str = "accepted"
    shed: int = 0
    stall_s: float = 0.0
    stall_at: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: int = 0
    tokens: set[str] = field(default_factory=set)
    timeouts_us: set[int] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    http: str = ""
    grpc: str = ""
    _begun: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._open.set()

    @property
    def total(self) -> int:
        """Inference requests."""
        return self.requests.total()

    def enter(self, protocol: str, token: str, timeout_us: int, unit: str) -> bool:
        """An inference request comes; whether it is to be answered."""
        with self._lock:
            self._begun += 1
            number = self._begun
            self.tokens.add(token)
            self.timeouts_us.add(timeout_us)
            self.units.add(unit)
            if self.stall_s and number == self.stall_at:
                self._open.clear()
                threading.Timer(self.stall_s, self._open.set).start()
        self._open.wait()
        answered = not self.shed or number % self.shed != 0
        with self._lock:
            self.requests[protocol, "ok" if answered else "shed"] += 1
        return answered

    def parameters(self, request_id: str) -> dict[str, str]:
        """Of a reply."""
        if not self.experiment:
            return {}
        return {"experiment": self.experiment, "arm": "control", "feedback_token": f"token-{request_id}"}

    def tell(self, count: int) -> None:
        """Outcomes come."""
        with self._lock:
            self.outcomes += count


@contextmanager
def running(gateway: FakeGateway) -> Iterator[FakeGateway]:
    """Serve it on free ports of loopback."""
    http = _Server(gateway)
    server = grpc.server(ThreadPoolExecutor(THREADS))
    add_GRPCInferenceServiceServicer_to_server(_Inference(gateway), server)
    add_ExperimentsServicer_to_server(_Experiments(gateway), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    gateway.http, gateway.grpc = f"http://127.0.0.1:{http.server_address[1]}", f"127.0.0.1:{port}"
    try:
        yield gateway
    finally:
        http.shutdown()
        http.server_close()
        server.stop(0).wait()
        thread.join()


def _probabilities(images: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    rows = np.full((images, len(LABELS)), 0.01, np.float32)
    rows[:, 7] = 0.91
    return rows


class _Inference(GRPCInferenceServiceServicer):
    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def ModelInfer(  # noqa: N802  gRPC's name
        self, request: pb.ModelInferRequest, context: grpc.ServicerContext
    ) -> pb.ModelInferResponse:
        metadata = dict(context.invocation_metadata())
        parameters = request.parameters
        answered = self._gateway.enter(
            "grpc",
            str(metadata.get("authorization", "")),
            parameters["timeout"].int64_param if "timeout" in parameters else 0,
            parameters["unit"].string_param if "unit" in parameters else "",
        )
        if not answered:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        images = request.inputs[0].shape[0]
        return pb.ModelInferResponse(
            model_name=request.model_name,
            id=request.id,
            parameters={
                name: pb.InferParameter(string_param=value)
                for name, value in self._gateway.parameters(request.id).items()
            },
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name="probabilities", datatype="FP32", shape=[images, len(LABELS)]
                ),
                pb.ModelInferResponse.InferOutputTensor(name="label", datatype="BYTES", shape=[images]),
            ],
            raw_output_contents=[_probabilities(images).tobytes(), length_prefixed([b"7"] * images)],
        )


class _Experiments(ExperimentsServicer):
    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def RecordOutcomes(  # noqa: N802  gRPC's name
        self, request: epb.RecordOutcomesRequest, _context: object
    ) -> epb.RecordOutcomesResponse:
        self._gateway.tell(len(request.outcomes))
        receipt = f"RECEIPT_{self._gateway.receipt.upper()}"
        return epb.RecordOutcomesResponse(
            outcomes=[epb.OutcomeReceipt(receipt=receipt)] * len(request.outcomes)
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway = gateway


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        documents = {
            f"/v2/models/{MODEL}": {
                "name": MODEL,
                "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
                "properties": {"labels": json.dumps(LABELS)},
            },
            f"/v2/models/{MODEL}/config": {"max_batch_size": 32},
        }
        document = documents.get(self.path)
        self._reply(200 if document else 404, json.dumps(document or {"error": "no such model"}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/outcomes"):
            count = len(json.loads(body)["outcomes"])
            self.server.gateway.tell(count)
            self._reply(
                200, json.dumps({"outcomes": [{"status": self.server.gateway.receipt}] * count}).encode()
            )
            return
        length = self.headers.get(HEADER_LENGTH)
        self._infer(json.loads(body[: int(length)] if length else body), binary=length is not None)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _infer(self, question: Any, *, binary: bool) -> None:  # noqa: ANN401  JSON
        parameters = question.get("parameters", {})
        answered = self.server.gateway.enter(
            "http",
            self.headers.get("Authorization", ""),
            parameters.get("timeout", 0),
            parameters.get("unit", ""),
        )
        if not answered:
            self._reply(429, json.dumps({"error": "the queue is full"}).encode())
            return
        images = question["inputs"][0]["shape"][0]
        rows, labels = _probabilities(images), length_prefixed([b"7"] * images)
        outputs: list[dict[str, Any]] = [
            {"name": "probabilities", "datatype": "FP32", "shape": [images, len(LABELS)]},
            {"name": "label", "datatype": "BYTES", "shape": [images]},
        ]
        document = {
            "model_name": MODEL,
            "id": question["id"],
            "parameters": self.server.gateway.parameters(question["id"]),
            "outputs": outputs,
        }
        if not binary:
            outputs[0]["data"], outputs[1]["data"] = rows.ravel().tolist(), ["7"] * images
            self._reply(200, json.dumps(document).encode())
            return
        for output, blob in zip(outputs, (rows.tobytes(), labels), strict=True):
            output["parameters"] = {"binary_data_size": len(blob)}
        head = json.dumps(document).encode()
        self._reply(200, head + rows.tobytes() + labels, {HEADER_LENGTH: str(len(head))})

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
