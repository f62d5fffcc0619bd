"""How the process that leads a run reaches those that make its load.

In a single process the two are one. In Locust's distributed mode the master leads, and these messages go
between it and its workers:

    ready   from a worker: its users are about to ask.
    failed  from a worker: why they cannot.
    begin   to each worker: when requests begin to arrive, and which share is its own.
    end     to all workers: send nothing any more, and report once all that is under way is answered.
    ended   from a worker: its last report, Locust's own statistics included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import gevent
from locust.env import Environment
from locust.exception import StopTest
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from loadtests.swarm.asker import TIMEOUT_S
from loadtests.swarm.collect import Report
from loadtests.swarm.sender import SLACK_S, Sender, UnpreparedError

READY: Final = "attnserve_ready"
FAILED: Final = "attnserve_failed"
BEGIN: Final = "attnserve_begin"
END: Final = "attnserve_end"
ENDED: Final = "attnserve_ended"
REPORT: Final = "attnserve"  # our part of the reports that Locust's workers send
_POLL_S: Final = 0.02
_REPORT_INTERVAL_S: Final = 1.0

Take: TypeAlias = Callable[[str, Report], None]
Fail: TypeAlias = Callable[[str], None]


class Crew(Protocol):
    """Those that make load, as the one who leads sees them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that take part now."""

    @property
    def ready(self) -> bool:
        """Whether users can ask: each process has read what it needs for the run."""

    def prepare(self) -> None:
        """A run starts."""

    def begin(self, at: float) -> None:
        """Let requests arrive from that Unix time on."""

    def end(self) -> None:
        """Let nobody send any more, and wait for everybody's last report."""


class Alone:
    """Implements `Crew`: the process that leads makes the load, too."""

    names = ("local",)
    ready = True  # as soon as `prepare` returns

    def __init__(self, sender: Sender, take: Take, fail: Fail) -> None:
        """Hand every report to `take`; `fail` is told why there is no run."""
        self._sender, self._take, self._fail = sender, take, fail
        self._reporter: gevent.Greenlet | None = None

    def prepare(self) -> None:
        """See `Crew`."""
        try:
            self._sender.prepare()
        except UnpreparedError as error:
            self._fail(str(error))
            raise StopTest(str(error)) from None
        self._reporter = gevent.spawn(self._report_for_ever)

    def begin(self, at: float) -> None:
        """See `Crew`."""
        self._sender.begin(at, 0, 1)

    def end(self) -> None:
        """See `Crew`."""
        self._sender.end()
        if self._reporter is not None:
            self._reporter.kill()
        self._report()

    def _report_for_ever(self) -> None:
        while True:
            gevent.sleep(_REPORT_INTERVAL_S)
            self._report()

    def _report(self) -> None:
        if report := self._sender.report():
            self._take(self.names[0], report)


class Workers:
    """Implements `Crew`: Locust's workers, from its master."""

    def __init__(self, environment: Environment, runner: MasterRunner, take: Take, fail: Fail) -> None:
        """As `Alone`; a worker that goes missing is told to `fail` at the end."""
        self._environment, self._runner, self._take, self._fail = environment, runner, take, fail
        self._ready: set[str] = set()
        self._ended: set[str] = set()
        self._expected: set[str] = set()
        for kind, hear in ((READY, self._hear_ready), (FAILED, self._hear_failed), (ENDED, self._hear_ended)):
            runner.register_message(kind, hear)
        environment.events.worker_report.add_listener(self._hear_report)

    @property
    def names(self) -> tuple[str, ...]:
        """See `Crew`."""
        return tuple(client.id for client in self._runner.clients.all if client.state != STATE_MISSING)

    @property
    def ready(self) -> bool:
        """See `Crew`."""
        return bool(self.names) and self._ready.issuperset(self.names)

    def prepare(self) -> None:
        """See `Crew`."""
        self._ready, self._ended, self._expected = set(), set(), set(self.names)

    def begin(self, at: float) -> None:
        """See `Crew`."""
        names = self.names
        self._expected.update(names)
        for number, name in enumerate(names):
            self._runner.send_message(BEGIN, {"at": at, "worker": number, "workers": len(names)}, name)

    def end(self) -> None:
        """See `Crew`."""
        self._expected.update(self.names)
        self._ready = set()
        self._runner.send_message(END)
        with gevent.Timeout(TIMEOUT_S + 2 * SLACK_S, False):  # noqa: FBT003  as above
            while not self._ended.issuperset(self.names):
                gevent.sleep(_POLL_S)
        if lost := len(self._expected - self._ended):
            self._fail(
                f"{lost} of {len(self._expected)} workers were lost, and what they had not yet reported"
            )

    def _hear_ready(self, msg: Message, **_: object) -> None:
        self._ready.add(msg.node_id)

    def _hear_failed(self, msg: Message, **_: object) -> None:
        self._ended.add(msg.node_id)  # nothing else will come from it
        self._fail(str(msg.data))

    def _hear_ended(self, msg: Message, **_: object) -> None:
        self._environment.events.worker_report.fire(client_id=msg.node_id, data=msg.data)
        self._ended.add(msg.node_id)

    def _hear_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        if report := data.get(REPORT):
            self._take(client_id, report)


class Worker:
    """A worker's side of `Workers`."""

    def __init__(self, environment: Environment, runner: WorkerRunner, sender: Sender) -> None:
        """Listen to the master, and add to every report."""
        self._environment, self._runner, self._sender = environment, runner, sender
        runner.register_message(BEGIN, self._begin)
        # Waits for answers, and must not keep the master's other messages waiting.
        runner.register_message(END, self._end, concurrent=True)
        events = environment.events
        events.test_start.add_listener(self._prepare)
        events.report_to_master.add_listener(self._report)
        events.test_stopping.add_listener(self._stop)

    def _prepare(self, **_: object) -> None:
        try:
            self._sender.prepare()
        except UnpreparedError as error:
            self._runner.send_message(FAILED, str(error))  # type: ignore[arg-type] # any value travels
            raise StopTest(str(error)) from None
        self._runner.send_message(READY)

    def _begin(self, msg: Message, **_: object) -> None:
        self._sender.begin(**msg.data)

    def _end(self, **_: object) -> None:
        self._sender.end()
        data: dict[str, Any] = {}
        self._environment.events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message(ENDED, data)

    def _stop(self, **_: object) -> None:
        self._sender.end()
        # Its users are gone; Locust would have it wait so long again before it takes another run.
        self._environment.stop_timeout = 0.0

    def _report(self, data: dict[str, Any], **_: object) -> None:
        if report := self._sender.report():
            data[REPORT] = report
