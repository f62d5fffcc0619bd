"""What users send, and what they make of the replies, against a fake gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.exchange import GRPC, REST_BINARY, REST_JSON
from tests.loadtests.fake_gateway import MODEL, FakeGateway, running
from tests.loadtests.locusts import counts, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_way_sends_what_was_asked_for_and_is_counted_exactly(tmp_path: Path) -> None:
    """Units, deadline, token, arm, outcomes; a row of statistics for each way and kind, and for feedback."""
    with running(FakeGateway(experiment="trial")) as gateway:
        more = ("--units", "7", "--deadline-ms", "9000", "--token", "secret", "--feedback")
        launched, exchanges = run(gateway, tmp_path, "--shape", "3@6", *more)
    assert launched.status == 0, launched
    assert launched.result["errors"] == []
    assert launched.result["stopped"] == ""
    assert counts(launched) == gateway.requests
    assert len(exchanges) == gateway.total == sum(launched.result["sent"].values())
    assert gateway.tokens == {"Bearer secret"}
    assert gateway.timeouts_us == {9_000_000}
    assert gateway.units == {f"unit-{number}" for number in range(7)}
    assert set(exchanges.way) == {GRPC, REST_BINARY, REST_JSON}
    assert {"one image", "few images", "pixels", "input"} <= set(exchanges.kind)
    assert (set(exchanges.arm), set(exchanges.served)) == ({"control"}, {MODEL})
    assert set(exchanges.fault) == {""}
    assert launched.result["receipts"] == {"accepted": gateway.outcomes}
    assert gateway.outcomes == exchanges.judged.sum() > 0
    rows = {(row["protocol"], row["name"]): row["requests"] for row in launched.result["rows"]}
    assert {way for way, name in rows if name == "feedback"} == {GRPC, REST_BINARY, REST_JSON}
    assert sum(count for (_, name), count in rows.items() if name != "feedback") == gateway.total
    assert (exchanges.ended >= exchanges.sent).all()
    assert (exchanges.sent >= exchanges.due).all()


def test_a_refusal_and_another_receipt_than_accepted_are_failures(tmp_path: Path) -> None:
    """They are told with their counts, and the exit code says so."""
    with running(FakeGateway(experiment="trial", receipt="too_late", shed=5)) as gateway:
        launched, exchanges = run(gateway, tmp_path, "--shape", "2@3", "--feedback")
    assert launched.status == 1
    assert counts(launched) == gateway.requests
    shed = exchanges.where(exchanges.outcome == "shed")
    assert len(shed) == gateway.total // 5
    assert set(shed.fault) == {"shed: the queue is full"}
    assert set(shed.served) == {""}
    assert launched.result["receipts"] == {"too_late": gateway.outcomes}
    errors = " ".join(launched.result["errors"])
    assert "gRPC feedback: outcomes were not accepted: too_late" in errors
    assert "REST JSON one image: shed: the queue is full" in errors
