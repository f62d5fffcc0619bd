"""A real Prometheus of a test's own, on loopback."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.processes import free_ports
from tests.programs import find_program

PATIENCE_S = 60.0


@contextmanager
def running_prometheus(folder: Path, config: Mapping[str, Any], *flags: str) -> Iterator[str]:
    """One that is ready; gives its address. The tests that use it are marked as needing the program.

    Args:
        folder: For its files.
        config: Its configuration.
        flags: More of its command line.
    """
    program = find_program("prometheus")
    assert program, "the marker needs_program looks for it"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config)))
    (port,) = free_ports(1)
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    command = [str(program), *(f"--{name}={value}" for name, value in options.items()), *flags]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < ends:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"prometheus is not ready:\n{log.read_text()}")
