"""Gateways with a fake engine, as processes of their own."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtests.stack import running_stack
from tests.e2e.processes import free_ports
from tests.page.fake_engine import HOSTILE

StartGateway = Callable[..., "FakeGateway"]

ROLES = ("infer", "operate", "admin")


class FakeGateway:
    """A gateway that can be lost, and come back at the same address."""

    def __init__(
        self, folder: Path, samples: Path, *, hostile: bool = False, tokens: bool = False, **settings: object
    ) -> None:
        """Say how it is to be started.

        Args:
            folder: Its run_dir; what it keeps is there again when it comes back.
            samples: Folder of the images that the page offers.
            hostile: Whether it has a model whose labels look like markup.
            tokens: Whether it asks for one, see `secret`.
            settings: More of them: log_level="debug" is ATTNSERVE_LOG_LEVEL=debug.
        """
        (port,) = free_ports(1)
        self.http = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._running = ExitStack()
        given = {
            "http_port": port,
            "page_samples": samples,
            "experiments_poll_interval_s": 0.2,
            "tokens": json.dumps([_token(role) for role in ROLES]) if tokens else "",
            **settings,
        }
        self._settings = {f"ATTNSERVE_{key.upper()}": str(value) for key, value in given.items()}
        self._command = [sys.executable, "-m", "tests.page.fake_gateway", *([HOSTILE] if hostile else [])]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, and ended."""
        self.come_back()
        try:
            yield
        finally:
            self.lose()

    def come_back(self) -> None:
        """Start it, and wait until it is ready."""
        (self.folder / "addresses.json").unlink(missing_ok=True)
        self._running.enter_context(running_stack(self.folder, self._settings, self._command))

    def lose(self) -> None:
        """End it."""
        self._running.close()

    def secret(self, role: str) -> str:
        """The token of that role."""
        return f"attn-test-{role}-0123456789abcdef"

    def log(self) -> str:
        """All that it wrote since it was started last."""
        return (self.folder / "gateway.log").read_text(errors="replace")


def _token(role: str) -> dict[str, str]:
    secret = f"attn-test-{role}-0123456789abcdef"
    return {"name": f"{role}-person", "role": role, "sha256": hashlib.sha256(secret.encode()).hexdigest()}
