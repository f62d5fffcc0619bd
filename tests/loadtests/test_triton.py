"""Users of the stock tritonclient: what they send and understand, and that the gateway counts them right."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.exchange import TRITON_GRPC, TRITON_HTTP
from loadtests.exchanges import Exchanges, read_exchanges
from loadtests.running.launch import Job, Launched, launch
from loadtests.running.trial import ARMS, Twins, running_trial
from loadtests.scrape import scrape
from loadtests.stack import Target, running_stack
from loadtests.tally import Tally, differences
from loadtests.traffic.questions import KINDS
from tests.e2e.demo import Demo, build_demo

PROGRAM = Path(__file__).with_name("triton_replies.py")
ROOT = Path(__file__).parents[2]
LOCUSTFILE = ROOT / "loadtests" / "locustfile_triton.py"
MODELS = ("digits_se", "digits_eca")
TOKEN = "let-me-in"  # noqa: S105  of a gateway that is gone
SECONDS = 4


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What triton_replies.py printed."""
    done = subprocess.run(
        [sys.executable, PROGRAM],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_its_locustfile_brings_none_of_our_stubs(found: dict[str, Any]) -> None:
    """And it must not: a process that holds the library's cannot take ours."""
    assert found["ours"] == []
    assert found["excluded"] == "TypeError"


def test_every_request_says_what_was_asked(found: dict[str, Any]) -> None:
    """Images, pixels and inputs travel as the protocol writes them; so do unit, deadline, id and token."""
    image, pixels, normalised = (found["asked"][place] for place in (0, 6, 7))
    assert image["authorization"] == f"Bearer {'a-secret'}"
    document = image["document"]
    assert document["id"] == "r1"
    assert document["parameters"] == {"unit": "somebody", "timeout": 1_500_000}
    assert [output["name"] for output in document["outputs"]] == ["probabilities", "label"]
    (tensor,) = document["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("image", "BYTES", [3])
    # Each element is its length, four bytes with the lowest first, and its bytes.
    assert image["binary"] == [6, 0, 0, 0, *b"a file", 0, 0, 0, 0, 2, 0, 0, 0, 0, 255]
    (tensor,) = pixels["document"]["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("pixels", "UINT8", [1, 2, 4, 3])
    assert pixels["binary"] == list(range(24))
    assert "parameters" not in pixels["document"]
    (tensor,) = normalised["document"]["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("input", "FP32", [1, 3, 1, 1])
    # IEEE 754: 1.5 is 0x3FC00000, -2 is 0xC0000000.
    assert normalised["binary"] == [0, 0, 0xC0, 0x3F, 0, 0, 0, 0xC0, 0, 0, 0, 0]


def test_a_user_keeps_its_connection(found: dict[str, Any]) -> None:
    """All questions came over one."""
    ports = {asked["connection"] for asked in found["asked"] if asked["path"].endswith("/infer")}
    assert len(ports) == 1


def test_an_answer_is_read_whole(found: dict[str, Any]) -> None:
    """Rows, labels and parameters, which are text, whatever they were."""
    assert found["replies"]["good"] == {
        "outcome": "ok",
        "message": "",
        "answer": {
            "from": ["r1", "one"],
            "rows": [[0.25, 0.75]] * 3,
            "labels": ["ü", "b", "c"],
            "parameters": {"arm": "twin", "sticky": "false", "experiment_version": "2"},
        },
    }


@pytest.mark.parametrize("reply", ["cut", "without", "page"])
def test_a_reply_that_is_none_is_a_wrong_answer(reply: str, found: dict[str, Any]) -> None:
    """The gateway counted it as answered, and so must we; but nothing passes for an answer."""
    shown = found["replies"][reply]
    assert shown.keys() == {"outcome", "message"}
    assert shown["outcome"] == "ok"
    assert shown["message"].startswith("the reply is malformed")


@pytest.mark.parametrize(
    ("reply", "outcome", "says"),
    [
        ("shed", "shed", "come back later"),
        ("missing", "client_error", "no such model"),
        ("TritonHttpUser", "no_answer", "refused"),
        ("TritonGrpcUser", "no_answer", "refused"),
    ],
)
def test_a_refusal_counts_as_the_gateway_counts_it(
    reply: str, outcome: str, says: str, found: dict[str, Any]
) -> None:
    """By its own label, and with its own words; where nobody listens, nobody counts."""
    shown = found["replies"][reply]
    assert shown["outcome"] == outcome
    assert says in shown["message"]


def test_outcomes_are_told_over_rest(found: dict[str, Any]) -> None:
    """The library knows nothing of experiments; receipts are counted, and a refusal is said."""
    assert found["receipts"][0] == {"accepted": 1, "expired": 1}
    assert found["receipts"][1].startswith("403")
    told = found["asked"][8]
    assert told["path"] == "/v1/experiments/told/outcomes"
    assert told["document"]["outcomes"][1] == {"feedback_token": "t", "label": "8", "item": 1}


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="module")
def target(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway of its own that wants a token, and that must end without an error."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = {
        "ATTNSERVE_MODEL_STORE": str(demo.archives),
        "ATTNSERVE_MODELS": json.dumps(MODELS),
        "ATTNSERVE_TOKENS": json.dumps([{"name": "load", "role": "operate", "sha256": digest}]),
    }
    with running_stack(tmp_path_factory.mktemp("run"), settings) as stack:
        yield stack.target


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_gateway_counts_what_they_send(target: Target, demo: Demo, tmp_path: Path) -> None:
    """Of every kind, in both ways: nothing fails, and the counts are the same to the request."""
    before = scrape(target.metrics).requests(MODELS)
    launched, exchanges = _loaded(target, demo, tmp_path, "--models", ",".join(MODELS))
    counted = scrape(target.metrics).requests(MODELS)
    counted.subtract(before)
    assert launched.result["errors"] == []
    assert launched.status == 0
    assert differences(Tally.of_json(launched.result["tally"]).requests, counted) == []
    assert set(exchanges.way) == {TRITON_GRPC, TRITON_HTTP}
    assert set(exchanges.kind) == set(KINDS)
    assert not exchanges.failed.any()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_of_twins_is_counted_by_arm(target: Target, demo: Demo, tmp_path: Path) -> None:
    """What the users were told of their arm is what the gateway counted, and every known label arrived."""
    said: list[str] = []
    with running_trial(target.http, TOKEN, Twins(model="digits_se"), said.append) as trial:
        more = ("--models", trial.name, "--feedback", "--exclude-tags", "corrupt", "oversized")
        launched, exchanges = _loaded(target, demo, tmp_path, *more)
        page = scrape(target.metrics)
        report = trial.report(len(exchanges))
    assert launched.result["errors"] == said == []
    ours = Counter(exchanges.arm)
    assert ours == {
        arm: page.total("attnserve_experiment_requests_total", experiment=trial.name, arm=arm) for arm in ARMS
    }
    assert launched.result["receipts"] == {"accepted": int(exchanges.judged.sum())}
    known = {curve["arm"]: curve["calls"] for curve in report["latency_curves"]}
    assert known == ours
    assert report["verdict"] in {"insufficient_data", "undecided", "no_difference"}


def _loaded(target: Target, demo: Demo, folder: Path, *more: str) -> tuple[Launched, Exchanges]:
    """What came of a short open loop, whose share of each kind is chance's."""
    shape = ("--loop", "open", "--slots", "32", "--shape", f"{SECONDS}@80", "--seed", "1")
    where = ("--host", target.http, "--grpc", target.grpc, "--samples", str(demo.samples))
    job = Job(
        locustfile=LOCUSTFILE,
        arguments=(*where, *shape, *more),
        seconds=SECONDS,
        workers=0,
        folder=folder,
        token=TOKEN,
    )
    launched = launch(job)
    return launched, read_exchanges(launched.exchanges)
