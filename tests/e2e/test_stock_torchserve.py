"""Our archives on a TorchServe that knows nothing of us."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.demo import Demo
from tests.e2e.processes import run
from tests.e2e.stock import StockTorchServe


def put(url: str, content: bytes) -> httpx.Response:
    """What `curl -T` sends."""
    return httpx.put(url, content=content, timeout=30, trust_env=False)


@pytest.mark.needs_program("curl", how="apt install curl")
def test_curl_gets_the_right_digits(torchserve: StockTorchServe, demo: Demo) -> None:
    """`curl -T image.png …/predictions/digits_se` prints JSON with label and best classes."""
    answers = []
    for path in sorted(demo.samples.iterdir()):
        answer = json.loads(
            run("curl", "-sS", "-T", path, f"{torchserve.inference}/predictions/digits_se").stdout
        )
        assert (answer["model"], answer["version"]) == ("digits_se", "1")
        assert max(answer["probabilities"], key=answer["probabilities"].get) == answer["label"]
        answers.append(answer["label"])
    assert demo.share_right(answers) >= 0.95


@pytest.mark.needs_program("curl", how="apt install curl")
def test_a_bad_image_is_the_callers_fault(torchserve: StockTorchServe, demo: Demo, tmp_path: Path) -> None:
    """It gets 400 and the reason in JSON; the next image is answered."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    url = f"{torchserve.inference}/predictions/digits_se"
    printed = run("curl", "-sS", "-w", "\n%{http_code}", "-T", bad, url).stdout
    body, _, status = printed.rpartition("\n")
    assert status == "400"
    assert "must be one of JPEG" in json.loads(body)["error"]
    assert put(url, demo.images[0]).json()["label"] == demo.labels[0]


def test_torchserves_own_batches(torchserve: StockTorchServe, demo: Demo) -> None:
    """In batches of eight that TorchServe gathers, good and bad images each get their own answer."""
    query: dict[str, str | int | bool] = {
        "url": "digits_plain.mar",
        "batch_size": 8,
        "max_batch_delay": 200,
        "initial_workers": 1,
        "synchronous": True,
    }
    registered = httpx.post(f"{torchserve.management}/models", params=query, timeout=60, trust_env=False)
    assert registered.status_code == 200, registered.text
    (described,) = httpx.get(f"{torchserve.management}/models/digits_plain", trust_env=False).json()
    assert described["batchSize"] == 8

    bodies = [image if number % 3 else b"bad %d" % number for number, image in enumerate(demo.images)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        url = f"{torchserve.inference}/predictions/digits_plain"
        answers = list(pool.map(lambda body: put(url, body), bodies))
    assert [answer.status_code for answer in answers] == [
        200 if number % 3 else 400 for number in range(len(bodies))
    ]
    assert all(f"b'bad {number}'" in answers[number].json()["error"] for number in range(0, len(bodies), 3))
    good = [
        (answer.json()["label"], label)
        for answer, label in zip(answers, demo.labels, strict=True)
        if answer.is_success
    ]
    assert sum(label == expected for label, expected in good) >= 0.95 * len(good)
