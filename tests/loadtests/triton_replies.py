"""What users of tritonclient send, and make of replies; a program, as its stubs and ours exclude each other.

It answers itself over HTTP, a reply by hand for each model's name, and prints a JSON object with what came.
"""

from __future__ import annotations

import importlib
import json
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from loadtests.locustfile_triton import TritonGrpcUser, TritonHttpUser  # isort: skip  Locust patches the rest

import numpy as np
from gevent.pywsgi import WSGIServer
from locust.env import Environment

from loadtests.swarm.asker import Reply, Truth, WrongAnswerError
from loadtests.traffic.questions import Question
from loadtests.traffic.sample import Sample

Page: TypeAlias = tuple[str, dict[str, str], bytes]

TOKEN: Final = "a-secret"  # noqa: S105  of nobody
IMAGES: Final = Question(
    request_id="r1",
    model="good",
    samples=tuple(Sample(name="", label="", encoded=file) for file in (b"a file", b"", b"\x00\xff")),
    unit="somebody",
    deadline_ms=1500,
)
PIXELS: Final = replace(
    IMAGES, unit="", deadline_ms=0.0, array=np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
)
INPUT: Final = replace(PIXELS, array=np.array([[[[1.5]], [[-2]], [[0]]]], np.float32))
TRUTHS: Final = (Truth(token="t", label="7", item=0), Truth(token="t", label="8", item=1))  # noqa: S106  as above


def good() -> Page:
    """An answer with binary data, put together by hand."""
    rows = np.array([[0.25, 0.75]] * 3, "<f4").tobytes()
    labels = b"".join(struct.pack("<I", len(one)) + one for one in ("ü".encode(), b"b", b"c"))
    outputs = [
        ("probabilities", "FP32", [3, 2], len(rows)),
        ("label", "BYTES", [3], len(labels)),
    ]
    document = {
        "id": "r1",
        "model_name": "one",
        "parameters": {"arm": "twin", "sticky": False, "experiment_version": 2},
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
            for name, datatype, shape, size in outputs
        ],
    }
    header = json.dumps(document).encode()
    return "200 OK", {"Inference-Header-Content-Length": str(len(header))}, header + rows + labels


def refusal(status: str, text: str) -> Page:
    """Likewise."""
    return status, {}, json.dumps({"error": text}).encode()


PAGES: Final[dict[str, Page]] = {
    "good": good(),
    "cut": (*good()[:2], good()[2][:-3]),
    "without": ("200 OK", {}, b'{"outputs": []}'),
    "page": ("200 OK", {}, b"<html>"),
    "shed": refusal("429 Too Many Requests", "come back later"),
    "missing": refusal("404 Not Found", "no such model"),
    "told": ("200 OK", {}, b'{"outcomes": [{"status": "accepted"}, {"status": "expired"}]}'),
    "closed": refusal("403 Forbidden", "not you"),
}
ASKED: Final = ("good", "cut", "without", "page", "shed", "missing")


class Server:
    """Answers by the last part but one of the path, and remembers what came."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        """See WSGI."""
        body = environ["wsgi.input"].read()
        length = int(environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH", len(body)))
        self.asked.append(
            {
                "path": environ["PATH_INFO"],
                "authorization": environ["HTTP_AUTHORIZATION"],
                "connection": environ["REMOTE_PORT"],
                "document": json.loads(body[:length]),
                "binary": list(body[length:]),
            }
        )
        status, headers, page = PAGES[environ["PATH_INFO"].split("/")[-2]]
        start(status, [*headers.items(), ("Content-Length", str(len(page)))])
        return [page]


def user_at(kind: type[TritonHttpUser | TritonGrpcUser], port: int) -> TritonHttpUser | TritonGrpcUser:
    """A connected user, alone."""
    options = SimpleNamespace(token=TOKEN, grpc=f"127.0.0.1:{port}")
    setattr(kind, "stage", SimpleNamespace(options=options, timeout_s=10.0))  # noqa: B010  of another type
    user = kind(Environment())
    user.host = f"http://127.0.0.1:{port}"
    user.connect()
    return user


def shown(reply: Reply) -> dict[str, Any]:
    """A reply as JSON."""
    found: dict[str, Any] = {"outcome": reply.outcome, "message": reply.message}
    if answer := reply.answer:
        found["answer"] = {
            "from": [answer.request_id, answer.model],
            "rows": answer.probabilities.tolist(),
            "labels": answer.labels,
            "parameters": dict(answer.parameters),
        }
    return found


def told(user: TritonHttpUser | TritonGrpcUser, experiment: str) -> object:
    """The receipts, or the problem."""
    try:
        return dict(user.tell(experiment, TRUTHS))
    except WrongAnswerError as problem:
        return str(problem)


def excluded() -> str:
    """What happens when our stubs come beside the library's."""
    try:
        importlib.import_module("serve.pb.open_inference_pb2")
    except TypeError as problem:
        return type(problem).__name__
    return ""


def main() -> None:
    """Ask, and print."""
    ours = [name for name in sys.modules if name.startswith("serve.pb")]
    server = Server()
    listening = WSGIServer(("127.0.0.1", 0), server, log=None)
    listening.start()
    user = user_at(TritonHttpUser, listening.server_port)
    replies = {model: shown(user.send(user.encode(replace(IMAGES, model=model)), IMAGES)) for model in ASKED}
    for question in (PIXELS, INPUT):
        user.send(user.encode(question), question)
    receipts = [told(user, "told"), told(user, "closed")]
    user.disconnect()
    listening.stop(timeout=0)
    for kind in (TritonHttpUser, TritonGrpcUser):
        lonely = user_at(kind, listening.server_port)
        replies[kind.__name__] = shown(lonely.send(lonely.encode(IMAGES), IMAGES))
        lonely.disconnect()
    found = {"ours": ours, "replies": replies, "receipts": receipts, "asked": server.asked}
    print(json.dumps(found | {"excluded": excluded()}))  # noqa: T201  this is the program's output


if __name__ == "__main__":
    main()
