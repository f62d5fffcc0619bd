"""A gateway in front of engines, under load: what every fault test begins with, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.e2e.demo import Demo
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, started
from tests.faults.engines import Engine, attempts
from tests.faults.load import Ledger, Load, load
from tests.faults.table import Row

MODEL = "digits_se"
ALL_ANSWER_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A gateway under load; every engine has answered, and nothing is broken yet.

    Attributes:
        stack: The gateway.
        load: Its callers.
        began: When nothing was broken yet, on the monotonic clock: what is counted begins here.
        phase_s: How long the load goes on before a fault and after it.
    """

    stack: Stack
    load: Load
    began: float
    phase_s: float

    def go_on(self) -> None:
        """Let a phase pass."""
        self.load.go_on(self.phase_s)

    def end(self) -> Ledger:
        """Send the callers home; the requests since the scene began."""
        return self.load.end().since(self.began)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where scenes are played.

    Attributes:
        demo: Archives and samples.
        phase_s: How long the load goes on, in seconds, before a fault and after it.
        folder: For configurations.
        rows: The table so far.
    """

    demo: Demo
    phase_s: float
    folder: Path
    rows: list[Row] = field(default_factory=list)

    def times(self, most: int) -> int:
        """How often to inject what can be injected again: the longer the phases, the more often."""
        return max(1, min(most, int(self.phase_s)))

    @contextmanager
    def gateway(
        self,
        addresses: Sequence[str],
        *,
        settings: Mapping[str, float] | None = None,
        under: Sequence[str] = (),
    ) -> Iterator[Stack]:
        """A ready gateway in front of engines; unless the test ends it, it must end well by itself.

        Args:
            addresses: Of the engines.
            settings: Below the key `attempts` of the configuration.
            under: See `started`.
        """
        config = self.folder / "gateway.yaml"
        engines = [{"address": address, "models": [MODEL]} for address in addresses]
        config.write_text(yaml.safe_dump({"engines": engines, "attempts": dict(settings or {})}))
        with started({}, "--config", str(config), under=under) as stack:
            stack.wait_ready()
            yield stack
            if stack.process.poll() is None:
                assert stack.end() == 0
            stack.assert_nothing_left()

    @contextmanager
    def scene(self, engines: Sequence[Engine], **settings: float) -> Iterator[Scene]:
        """A gateway in front of these engines, under load; settings are those below `attempts`."""
        addresses = [engine.target for engine in engines]
        with (
            self.gateway(addresses, settings=settings) as stack,
            self.scene_at(stack, engines) as scene,
        ):
            yield scene

    @contextmanager
    def scene_at(self, stack: Stack, engines: Sequence[Engine]) -> Iterator[Scene]:
        """The same, with a gateway that runs already."""
        with load(stack, self.demo, MODEL) as running:
            wait_until(
                lambda: all(attempts(stack, engine) > 0 for engine in engines),
                ALL_ANSWER_S,
                "every engine has answered",
            )
            running.go_on(self.phase_s)
            yield Scene(stack=stack, load=running, began=time.monotonic(), phase_s=self.phase_s)


def assert_none_lost(ledger: Ledger) -> None:
    """Every request was answered, and rightly."""
    assert ledger.failed == []
    assert ledger.wrong == []
    assert len(ledger.entries) > 0
