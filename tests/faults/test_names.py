"""Engines come and go behind one host name."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import free_ports, wait_until
from tests.faults.engines import Engine, attempts, start_all
from tests.faults.stage import MODEL, Stage, assert_none_lost
from tests.faults.table import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_program("unshare", how="apt install util-linux"),
]

NAME = "engines.test"
NEW_USED_S = 4.0


@dataclass(frozen=True, slots=True)
class Hosts:
    """An /etc/hosts of one process's own."""

    file: Path

    def point(self, engines: Sequence[Engine]) -> None:
        """Let the name stand for these engines; in place, since a mount keeps to the file, not its path."""
        lines = ["127.0.0.1 localhost", *(f"{engine.host} {NAME}" for engine in engines)]
        self.file.write_text("\n".join(lines) + "\n")

    @property
    def under(self) -> list[str]:
        """A command that ends by becoming the one that it is given, which then sees this file."""
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", *user, "--mount", "sh", "-c", script, str(self.file)]


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    """One that says nothing yet; skips where mounts may not be made."""
    made = Hosts(tmp_path / "hosts")
    made.point([])
    tried = subprocess.run([*made.under, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"an /etc/hosts of one's own cannot be mounted here: {tried.stderr.strip()}")
    return made


@pytest.fixture
def engines(stage: Stage) -> Iterator[list[Engine]]:
    """Two engines on one port of two addresses, as behind a headless service."""
    (port,) = free_ports(1)
    pair = [Engine(stage.demo.archives, MODEL, f"127.0.0.{last}", grpc_port=port) for last in (2, 3)]
    with ExitStack() as life:
        for engine in pair:
            life.callback(engine.end)
        start_all(pair)
        yield pair


def test_an_engine_is_added_and_another_removed(stage: Stage, hosts: Hosts, engines: list[Engine]) -> None:
    """The new one is used within seconds; the old one gets nothing more and ends what it has."""
    old, new = engines
    hosts.point([old])
    address = f"{NAME}:{old.target.rpartition(':')[2]}"
    with (
        stage.gateway([address], under=hosts.under) as stack,
        stage.scene_at(stack, [old]) as scene,
    ):
        added = time.monotonic()
        hosts.point([old, new])
        wait_until(lambda: attempts(stack, new) >= 5, NEW_USED_S, "the new engine is used")
        used_s = time.monotonic() - added
        scene.go_on()
        hosts.point([new])
        scene.load.go_on(NEW_USED_S / 2)
        sent = attempts(stack, old)
        answered = attempts(stack, new)
        scene.go_on()
        assert attempts(stack, old) in {sent, 0}
        assert attempts(stack, new) > answered
        old.terminate()
        scene.go_on()
        ledger = scene.end()
    assert_none_lost(ledger)
    stage.rows.append(
        Row(
            fault="engine added, then another removed",
            how="the host name's addresses changed; the removed one got SIGTERM later",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=used_s,
        )
    )
