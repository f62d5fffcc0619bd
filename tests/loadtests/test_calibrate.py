"""What the generator costs alone: the server that has its replies at hand, and the measurement with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import typer

from loadtests.calibrate import main
from loadtests.exchange import GRPC, REST_BINARY, REST_JSON
from loadtests.null_server import MODEL
from loadtests.stack import Target, running_stack
from loadtests.traffic import wire
from loadtests.traffic.check import fault
from loadtests.traffic.grpc_wire import grpc_answer, grpc_request
from loadtests.traffic.questions import Answer, Question
from loadtests.traffic.sample import Sample
from loadtests.traffic.subjects import read_subjects
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.e2e.demo import build_demo


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Started and ended as a gateway is."""
    command = (sys.executable, "-m", "loadtests.null_server")
    with running_stack(tmp_path_factory.mktemp("server"), {}, command) as stack:
        yield stack.target


def by_grpc(server: Target, question: Question) -> Answer:
    """Ask as the gRPC users do."""
    with grpc.insecure_channel(server.grpc) as channel:
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        return grpc_answer(infer(grpc_request(question), timeout=30))


def by_rest(server: Target, question: Question, posted: tuple[bytes, dict[str, str]]) -> Answer:
    """Ask as the REST users do."""
    url = f"{server.http}/v2/models/{question.model}/infer"
    reply = httpx.post(url, content=posted[0], headers=posted[1], trust_env=False).raise_for_status()
    return wire.rest_answer(reply.content, reply.headers.get(wire.HEADER_LENGTH))


WAYS: dict[str, Callable[[Target, Question], Answer]] = {
    GRPC: by_grpc,
    REST_BINARY: lambda server, question: by_rest(server, question, wire.rest_binary(question)),
    REST_JSON: lambda server, question: by_rest(server, question, wire.rest_json(question)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("form", ["encoded", "input"])
def test_replies_at_hand_pass_the_users_checks(server: Target, way: str, images: int, form: str) -> None:
    """Or what is measured would be the cost of failures."""
    (subject,) = read_subjects(server.http, [MODEL])
    array = np.zeros((images, 3, *subject.input_size), np.float32) if form == "input" else None
    samples = (Sample(name="any", label="0", encoded=b"any bytes"),) * images
    question = Question(request_id=f"{way} {images}", model=MODEL, samples=samples, array=array)
    assert fault(WAYS[way](server, question), question, subject) == ""


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_each_way_is_measured_alone(tmp_path: Path) -> None:
    """By the command, with every reply right, and no way cheaper than free."""
    samples, file = build_demo().samples, tmp_path / "costs.json"
    command = [sys.executable, "-m", "loadtests.calibrate", "--seconds", "2", "--users", "4"]
    command += ["--samples", str(samples), "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(file.read_text())
    assert document["machine"]["cores"] >= 1
    assert [found["way"] for found in document["ways"]] == [GRPC, REST_BINARY, REST_JSON]
    for found in document["ways"]:
        assert found["way"] in done.stdout
        assert found["failures"] == 0
        assert found["rate"] > 1
        assert found["cpu_ms"] == pytest.approx(1e3 * found["core"] / found["rate"])
        assert 0.01 < found["cpu_ms"] < 100


def test_no_samples_are_no_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so before anything is started."""
    with pytest.raises(typer.Exit) as ended:
        main(samples=tmp_path)
    assert ended.value.exit_code == 1
    assert str(tmp_path) in capsys.readouterr().err
