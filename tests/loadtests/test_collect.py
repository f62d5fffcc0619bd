"""How what each process has seen comes together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped] # what Locust's messages are made of

from loadtests.exchange import GRPC, REST_JSON, Exchange
from loadtests.exchanges import read_exchanges
from loadtests.outcome import Slo
from loadtests.swarm.collect import MOST_ERRORS, Collector, Ledger, shortened, write_result
from loadtests.swarm.loops import ClosedLoop, OpenLoop
from loadtests.tally import Kind

BEGIN = 1_700_000_000.25
SLO = Slo(p99_ms=100, for_s=1)


def exchange(number: int, way: str = GRPC, fault: str = "") -> Exchange:
    """One of several, a tenth of a second apart."""
    due = BEGIN + number / 10
    return Exchange(
        due=due,
        sent=due + 0.001,
        ended=due + 0.02,
        way=way,
        kind="one image",
        model="trial",
        served="digits",
        arm="control",
        outcome="ok",
        fault=fault,
        judged=1,
        right=number % 2,
    )


def report_of(exchanges: Sequence[Exchange], unanswered: Sequence[float] = ()) -> dict[str, Any]:
    """What a process reports that sent these, as it comes out of Locust's message to the master."""
    collector = Collector()
    for one in exchanges:
        collector.tell_due(one.due)
        collector.add(one)
    for due in unanswered:
        collector.tell_due(due)
    report = collector.report(ClosedLoop(collector.tell_due))
    read: dict[str, Any] = msgpack.loads(msgpack.dumps(report), strict_map_key=False)
    return read


def test_nothing_is_reported_twice() -> None:
    """A second report has only what came since."""
    collector = Collector()
    loop = ClosedLoop(collector.tell_due)
    collector.tell_due(BEGIN)
    collector.add(exchange(0))
    collector.add_receipts({"accepted": 2})
    first, second = collector.report(loop), collector.report(loop)
    assert (first["rows"], first["receipts"]) == ([exchange(0).as_row()], {"accepted": 2})
    assert (first["due"], second["due"]) == ({int(BEGIN): 1}, {})
    assert second["rows"] == []
    assert second["receipts"] == {}


def test_all_that_is_reported_is_counted_and_kept(tmp_path: Path) -> None:
    """Of two processes and several reports, in any order; the files are whole or not there."""
    made = [exchange(number, GRPC if number < 6 else REST_JSON) for number in range(10)]
    ledger = Ledger(slo=SLO, keeps_rows=True)
    for sender, part in (("b", made[5:8]), ("a", made[:5]), ("b", made[8:])):
        ledger.take(sender, report_of(part))
    ledger.write_exchanges(tmp_path / "exchanges.gz")
    write_result(tmp_path / "result.json", ledger.as_json())
    ledger.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exchanges.gz", "result.json"]
    columns = read_exchanges(tmp_path / "exchanges.gz")
    assert columns.due.tolist() == [one.due for one in made]
    assert columns.way.tolist() == [one.way for one in made]
    assert set(columns.arm) == {"control"}
    assert ledger.tally.requests == {Kind("digits", "grpc", "ok"): 6, Kind("digits", "http", "ok"): 4}
    assert (ledger.tally.right, ledger.tally.judged) == (5, 10)
    assert ledger.ended == made[-1].ended
    document = json.loads((tmp_path / "result.json").read_text())
    assert document["workers"] == 2
    assert sum(document["sent"].values()) == 10


def test_receipts_of_all_processes_are_added_up() -> None:
    """Of whatever they say."""
    collector, ledger = Collector(), Ledger(slo=SLO)
    loop = ClosedLoop(collector.tell_due)
    for receipts in ({"accepted": 3}, {"accepted": 1, "too_late": 2}):
        collector.add_receipts(receipts)
        ledger.take("a", collector.report(loop))
    assert ledger.as_json()["receipts"] == {"accepted": 4, "too_late": 2}


def test_nothing_is_judged_before_every_process_has_reported() -> None:
    """One that is late with its report may have the answers that decide."""
    ledger = Ledger(slo=SLO)
    ledger.take("a", report_of([], unanswered=[BEGIN]))
    assert ledger.judge(["a", "b"]) == ""
    assert ledger.judge([]) == ""
    ledger.take("b", report_of([exchange(0)]))
    assert "of 2 requests that were due then 1 (50.00%) had no answer within 100 ms" in ledger.judge(
        ["a", "b"]
    )


def test_a_run_is_finished_when_every_process_is() -> None:
    """Not when one has not said so, and not without any."""
    collector, ledger = Collector(), Ledger(slo=SLO)
    loop = OpenLoop(collector.tell_due, "seed")
    ledger.take("a", collector.report(loop))
    assert not ledger.finished(["a"])
    loop.end()
    ledger.take("a", collector.report(loop))
    assert ledger.finished(["a"])
    assert not ledger.finished(["a", "b"])
    assert not ledger.finished([])


def test_many_sorts_of_error_are_told_in_few_lines() -> None:
    """How many are left out is told."""
    lines = [f"error {number}" for number in range(MOST_ERRORS + 5)]
    assert shortened(lines[:MOST_ERRORS]) == lines[:MOST_ERRORS]
    assert shortened(lines) == [*lines[:MOST_ERRORS], "and 5 more sorts of error"]
