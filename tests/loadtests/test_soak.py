"""The soak itself, against gateways of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.soak.drive import Drive, Load
from loadtests.soak.fakes import FAULTS
from loadtests.soak.faults import Saboteur
from loadtests.soak.judge import End
from loadtests.soak.remote import remote_engines
from loadtests.soak.runs import FAKE_COMMAND, FAKE_SETTINGS, Wish
from loadtests.soak.stocks import fake_stock
from loadtests.stack import running_stack
from tests.e2e.processes import environment

# With this seed a fault comes after half a second: an engine is removed.
SEED, FIRST_FAULT = 521, "remove"


def soak(file: Path, *options: object, seconds: float = 100.0) -> tuple[int, str, dict[str, Any]]:
    """Run the command to its end: exit status, what it printed, and what it wrote."""
    command = [sys.executable, "-m", "loadtests.soak", "--json", file, *options]
    done = subprocess.run(
        list(map(str, command)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return done.returncode, done.stdout + done.stderr, found


def lost(found: dict[str, Any]) -> int:
    """Requests that were lost, or of which nothing is known."""
    account = found["account"]
    return int(account[End.LOST.value] + account["unaccounted"])


@pytest.mark.slow
def test_a_short_run_accounts_for_every_request(tmp_path: Path) -> None:
    """Of some hundred requests in all ways, with a fault, none is lost, and the gateway counted the same."""
    status, output, found = soak(tmp_path / "soak.json", "--requests", 800, "--seed", SEED)
    assert (status, found["good"], lost(found)) == (0, True, 0), output
    account = found["account"]
    assert account["sent"] == 800 == account[End.RIGHT.value] + account[End.REFUSED.value]
    assert {row["way"] for row in account["endings"]} == {"gRPC", "gRPC stream", "REST binary", "REST JSON"}
    assert any(row["reason"].startswith("bad request") for row in account["endings"])
    assert found["faults"][FIRST_FAULT] == 1
    assert {check["what"]: check["kept"] for check in found["checks"]}["the gateway's own counts"]


@pytest.mark.slow
def test_wrong_answers_do_not_pass(tmp_path: Path) -> None:
    """With other labels expected than the engines give, every answer is found wrong."""
    stock = fake_stock(1)
    stock = replace(
        stock,
        expected={key: replace(right, label=f"not {right.label}") for key, right in stock.expected.items()},
    )

    async def drive() -> tuple[int, int]:
        async with remote_engines(tmp_path) as engines:
            load = Load(requests=100, seed=1, workers=4, stock=stock)
            course = await Drive(load, stack, Saboteur(engines, iter(())), engines.tasks).run()
        account = course.account
        return account.total(End.LOST), sum(
            count
            for (_, end, reason), count in account.endings.items()
            if (end, reason) == (End.LOST, "wrong answer")
        )

    with running_stack(tmp_path, FAKE_SETTINGS, FAKE_COMMAND) as stack:
        all_lost, wrong = asyncio.run(drive())
    # Answers of which only probabilities were asked for are right.
    assert all_lost == wrong > 50


def test_an_unknown_fault_is_named() -> None:
    """The message lists those that there are."""
    wish = Wish(requests=100, seed=1, workers=1, faults=("hang", "earthquake"))
    with pytest.raises(ValueError, match=r"fault 'earthquake' is not known: use one of fail-lost, "):
        wish.kinds(FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_engines_die_and_nothing_is_lost(tmp_path: Path) -> None:
    """Workers and Java of two TorchServes are killed and frozen under load."""
    # So many that they are not over before the first fault, which comes within 14 s.
    options = ("--engine", "torchserve", "--requests", 8000, "--seed", 2)
    status, output, found = soak(tmp_path / "soak.json", *options, seconds=550)
    assert (status, lost(found)) == (0, 0), output
    assert sum(found["faults"].values()) > 0
