"""SIGHUP: an operator's word to look for new files, or a terminal's last one."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.e2e.processes import free_ports, marked, wait_until
from tests.e2e.stacks import started

# Gives a program a terminal of its own; with the end of this one, that terminal is closed.
IN_A_TERMINAL = (sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])")


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    """Whoever closes the window has no gateway left behind; a signal from elsewhere ends nothing."""
    (port,) = free_ports(1)
    config, tokens = tmp_path / "gateway.yaml", tmp_path / "tokens.yaml"
    tokens.write_text(json.dumps([{"name": "ci", "sha256": "0" * 64}]))
    engines = [{"address": f"127.0.0.1:{port}", "models": ["digits_se"]}]
    config.write_text(json.dumps({"engines": engines, "tokens_file": str(tokens)}))
    with started({"ATTNSERVE_LOG_FORMAT": "json"}, "--config", str(config), under=IN_A_TERMINAL) as stack:
        wait_until(lambda: stack.events("listening") != [], 60, "it listens")
        (gateway,) = (one for one in marked(stack.mark) if one.pid != stack.process.pid)
        gateway.send_signal(signal.SIGHUP)
        wait_until(lambda: stack.events("reloaded") != [], 30, "it looks for new files")
        assert stack.rest.get("/v2/health/live").status_code == 200
        stack.process.kill()
        wait_until(lambda: marked(stack.mark) == [], 30, "it ends")
        assert not (stack.run_dir / "addresses.json").exists(), "it ends in good order"
