"""The process that leads a run and concludes it: a local one, or Locust's master."""

from __future__ import annotations

import logging
import signal
from typing import Any, Final

import gevent
from gevent.event import Event
from locust import LoadTestShape
from locust.env import Environment
from locust.runners import MasterRunner
from locust.stats import StatsEntry

from loadtests.outcome import OPEN
from loadtests.swarm.clock import now
from loadtests.swarm.collect import Ledger, Report, shortened, write_result
from loadtests.swarm.crew import Alone, Crew, Workers
from loadtests.swarm.options import OptionError, Options
from loadtests.swarm.sender import Sender

PERCENTILES: Final = (0.5, 0.9, 0.99)
_TICK_S: Final = 1.0  # between two times that Locust asks a shape
LEAD_S: Final = 0.5  # for the message that says when requests begin to arrive
_POLL_S: Final = 0.02
MOST_SPAWNED: Final = 100  # users a second; Locust warns of more
FROM_OUTSIDE: Final = "it was ended from outside, before its time"

log = logging.getLogger(__name__)


class Pace(LoadTestShape):
    """Says how many users there are at any time; Locust asks once a second."""

    use_common_options = True
    leader: Leader

    def __init__(self) -> None:
        """Wait for the leader."""
        super().__init__()  # type: ignore[no-untyped-call] # locust's lack
        self._last: tuple[int, float] | None = None

    def tick(self) -> tuple[int, float] | None:
        """See Locust: users, and how many start each second; None ends the run."""
        if not self.leader.ending:
            self._last = self.leader.users()
        return self._last


class Leader:
    """Follows a run from its start to its files."""

    def __init__(self, environment: Environment) -> None:
        """Wait for the first run."""
        runner = environment.runner
        assert runner, "locust has made it before it calls this"  # noqa: S101  locust's order of events
        self.ending = False
        self._environment, self._runner = environment, runner
        self._crew: Crew = (
            Workers(environment, runner, self._take, self._fail)
            if isinstance(runner, MasterRunner)
            else Alone(Sender(environment), self._take, self._fail)
        )
        self._options: Options | None = None  # of the run that is on, or was
        self._ledger: Ledger | None = None  # until it is concluded
        self._began = 0.0  # Unix time from which the run's time counts
        self._begun: tuple[str, ...] = ()  # those that were told when requests arrive
        self._arriving = self._planned = self._clocked = False
        self._ended = Event()

    def listen(self) -> None:
        """Follow what Locust does."""
        events = self._environment.events
        for event, hear in (
            (events.test_start, self._start),
            (events.spawning_complete, self._spawned),
            (events.test_stopping, self._end),
            (events.test_stop, self._conclude),
            (events.quitting, self._quit),
        ):
            event.add_listener(hear)

    def users(self) -> tuple[int, float] | None:
        """How many users there are to be now, and how many may start each second; None: the run is over."""
        try:
            options = Options.read(self._environment.parsed_options)
        except OptionError as error:  # in the web UI; on the command line it has been read before
            log.error("%s", error)  # noqa: TRY400  the message says it all
            return None
        found = self._users(options)
        self._planned = found is None
        return found

    def _users(self, options: Options) -> tuple[int, float] | None:
        if not self._clocked and not self._crew.ready:
            return 0, MOST_SPAWNED  # Locust starts the run, and its workers make ready
        if self._ledger and not self._clocked:
            self._began, self._clocked = now(), True
        elapsed = now() - self._began if self._ledger else 0.0
        if options.loop == OPEN:
            begun = [name for name in self._crew.names if name in self._begun]
            over = self._ledger is not None and self._ledger.finished(begun)
            return None if over else (options.slots * max(1, len(self._crew.names)), MOST_SPAWNED)
        if options.shape:
            left = options.shape.seconds - elapsed
            if self._ledger and 0 < left < _TICK_S:  # Locust asks again only after it
                gevent.spawn_later(left, self._run_out, self._ledger)
            over = left <= 0
            return None if over else (round(options.shape.level(elapsed)), MOST_SPAWNED)
        over = options.run_time_s is not None and elapsed >= options.run_time_s
        return None if over else (options.users, options.spawn_rate)

    def _start(self, **_: object) -> None:
        self._options = options = Options.read(self._environment.parsed_options)
        self._ledger = Ledger(slo=options.slo, keeps_rows=options.exchanges is not None)
        self.ending = self._arriving = self._planned = self._clocked = False
        self._began, self._begun = now(), ()
        self._ended.clear()
        if options.headless:  # Locust itself would only listen to it after a shape's end
            self._on_sigterm = gevent.signal_handler(signal.SIGTERM, self._quit)
        self._crew.prepare()
        self._began, self._clocked = now(), self._crew.ready

    def _spawned(self, user_count: int, **_: object) -> None:
        is_open = self._options is not None and self._options.loop == OPEN
        if user_count and is_open and self._ledger and not self._arriving:
            self._arriving = True
            gevent.spawn(self._begin)

    def _begin(self) -> None:
        while not self._crew.ready and not self.ending:
            gevent.sleep(_POLL_S)
        self._began, self._begun = now() + LEAD_S, self._crew.names
        self._crew.begin(self._began)

    def _take(self, sender: str, report: Report) -> None:
        if not self._ledger:
            return
        self._ledger.take(sender, report)
        if not self.ending and (reason := self._ledger.judge(self._crew.names)):
            self._stop(reason)

    def _fail(self, reason: str) -> None:
        if self._ledger:
            if reason not in self._ledger.errors:  # all workers fail alike
                self._ledger.errors.append(reason)
            self._environment.process_exit_code = 1
            if not self.ending:
                self._stop(reason)

    def _stop(self, reason: str) -> None:
        """End the run; whoever calls this may be who must hear the last reports, and is not kept waiting."""
        if self._ledger and not self._ledger.stopped:
            self._ledger.stopped = reason
            log.warning("the run is stopped: %s", reason)
            self._finish()

    def _run_out(self, ledger: Ledger) -> None:
        """The time of that run is over; it may have ended before, and another begun."""
        if self._ledger is ledger and not self.ending:
            self._planned = True
            self._finish()

    def _finish(self) -> None:
        headless = self._options and self._options.headless
        gevent.spawn(self._runner.quit if headless else self._runner.stop)

    def _end(self, **_: object) -> None:
        """Before Locust stops its users: let all that is under way be answered."""
        if not self._ledger:
            return
        if self.ending:  # two want the end at the same time
            self._ended.wait()
            return
        self.ending = True
        self._crew.end()
        self._ended.set()

    def _quit(self, **_: object) -> None:
        """Locust ends: by itself after a run, or because somebody ends it during one."""
        if self._ledger:
            self._runner.quit()

    def _conclude(self, **_: object) -> None:
        ledger, options, self._ledger = self._ledger, self._options, None
        self.ending = self._clocked = False
        if not ledger or not options:
            return
        ledger.stopped = self._stopped(ledger, options)
        if ledger.tally.judged and ledger.tally.accuracy < options.accuracy_floor:
            shares = (100 * ledger.tally.accuracy, 100 * options.accuracy_floor)
            log.error("%.1f %% of the images got their label, expected %.1f %%", *shares)
            self._environment.process_exit_code = 1
        if options.exchanges:
            ledger.write_exchanges(options.exchanges)
        if options.result:
            write_result(options.result, self._result(ledger))
        ledger.close()

    def _stopped(self, ledger: Ledger, options: Options) -> str:
        free = not options.shape and options.loop != OPEN  # nobody said how long it takes
        reason = ledger.stopped or ("" if self._planned or free else FROM_OUTSIDE)
        waited = f"; {ledger.unsent} requests that waited for a slot were not sent" if ledger.unsent else ""
        return reason + waited

    def _result(self, ledger: Ledger) -> dict[str, Any]:
        stats = self._environment.stats
        errors = [
            f"{error.method} {error.name}: {error.error} ({error.occurrences} times)"
            for error in sorted(stats.errors.values(), key=lambda one: -one.occurrences)
        ]
        raised = [f"{row['msg']} ({row['count']} times)" for row in self._runner.exceptions.values()]
        return ledger.as_json() | {
            "rows": [_row(entry) for _, entry in sorted(stats.entries.items())],
            "errors": [*ledger.errors, *raised, *shortened(errors)],
            "began": self._began,
            "ended": ledger.ended or now(),
        }


def _row(entry: StatsEntry) -> dict[str, Any]:
    return {
        "protocol": entry.method,
        "name": entry.name,
        "requests": entry.num_requests,
        "failures": entry.num_failures,
        "per_second": entry.total_rps,
        "milliseconds": [entry.get_response_time_percentile(share) for share in PERCENTILES],
    }
