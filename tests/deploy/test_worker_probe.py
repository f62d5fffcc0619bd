"""The worker's probe tells a TorchServe that is well from one that is not."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.images import worker_probe

PROBE = Path(worker_probe.__file__)

READY = [{"workers": [{"status": "READY"}]}]
LOADING = [{"workers": [{"status": "UNLOADING"}]}]
NO_WORKER: list[dict[str, list[dict[str, str]]]] = [{"workers": []}]


class FakeTorchServe(ThreadingHTTPServer):
    """TorchServe's REST, inference and management on one port, with answers that a test can change."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: dict[str, object] = {
            "/ping": {"status": "Healthy"},
            "/models?limit=1000": {"models": [{"modelName": "digits_se"}, {"modelName": "digits_eca"}]},
            "/models/digits_se": READY,
            "/models/digits_eca": READY,
            "/predictions/digits_se": {"label": "7"},
            "/predictions/digits_eca": {"label": "1"},
        }
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: FakeTorchServe

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path)
        self.send_response(503 if answer is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def torchserve() -> Iterator[FakeTorchServe]:
    """A fake that is well."""
    with FakeTorchServe() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("probe", worker_probe.PROBES.values(), ids=worker_probe.PROBES.keys())
def test_a_healthy_worker_passes(torchserve: FakeTorchServe, probe: Callable[[str, str], None]) -> None:
    """Every probe passes when every model is loaded and answers."""
    probe(torchserve.url, torchserve.url)


@pytest.mark.parametrize("probe", worker_probe.PROBES.values(), ids=worker_probe.PROBES.keys())
def test_nothing_listening_fails(probe: Callable[[str, str], None]) -> None:
    """Every probe fails, naming the address, when nothing answers."""
    with pytest.raises(worker_probe.UnhealthyError, match=r"http://127\.0\.0\.1:1/"):
        probe("http://127.0.0.1:1", "http://127.0.0.1:1")


@pytest.mark.parametrize("state", [LOADING, NO_WORKER], ids=["loading", "no-worker"])
def test_a_model_without_a_loaded_worker_is_not_ready(torchserve: FakeTorchServe, state: object) -> None:
    """One model that still loads, or whose load failed, makes the pod unready, though it lives."""
    torchserve.answers["/models/digits_eca"] = state
    worker_probe.live(torchserve.url, torchserve.url)
    with pytest.raises(worker_probe.UnhealthyError, match="digits_eca"):
        worker_probe.ready(torchserve.url, torchserve.url)


def test_no_model_at_all_is_not_ready(torchserve: FakeTorchServe) -> None:
    """An empty store is a mistake in the image, not a healthy worker."""
    torchserve.answers["/models?limit=1000"] = {"models": []}
    with pytest.raises(worker_probe.UnhealthyError, match="no model"):
        worker_probe.ready(torchserve.url, torchserve.url)


def test_the_canary_needs_a_label(torchserve: FakeTorchServe) -> None:
    """An answer without a label, or an error, stops the start-up probe from passing."""
    torchserve.answers["/predictions/digits_eca"] = {"error": "cannot decode"}
    with pytest.raises(worker_probe.UnhealthyError, match="digits_eca: the answer has no label"):
        worker_probe.canary(torchserve.url, torchserve.url)
    del torchserve.answers["/predictions/digits_eca"]
    with pytest.raises(worker_probe.UnhealthyError, match="503"):
        worker_probe.canary(torchserve.url, torchserve.url)


def test_the_canary_sends_a_real_image(torchserve: FakeTorchServe) -> None:
    """What it posts decodes to a grey 8 by 8 image."""
    worker_probe.canary(torchserve.url, torchserve.url)
    assert len(torchserve.bodies) == 2
    with Image.open(io.BytesIO(torchserve.bodies[0])) as image:
        assert (np.asarray(image) == np.full((8, 8), 128, np.uint8)).all()


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["live", "ready"]])
def test_a_wrong_call_says_how_to_call_it(arguments: list[str]) -> None:
    """Exit code 2 and the usage, as programs do."""
    done = subprocess.run([sys.executable, PROBE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "live|ready|canary" in done.stderr
