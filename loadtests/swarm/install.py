"""What every locustfile of this project has in common."""

from __future__ import annotations

from locust import LoadTestShape
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import Events
from locust.runners import MasterRunner, WorkerRunner

from loadtests.swarm.asker import TIMEOUT_S
from loadtests.swarm.crew import Worker
from loadtests.swarm.leader import Leader, Pace
from loadtests.swarm.options import OptionError, Options, add_options
from loadtests.swarm.sender import Sender, UnpreparedError, corpus_of


def install(events: Events) -> None:
    """Add the options, and lead every run that Locust starts."""
    events.init_command_line_parser.add_listener(_declare)
    events.init.add_listener(_prepare)


def _declare(parser: LocustArgumentParser, **_: object) -> None:
    add_options(parser)


def _prepare(environment: Environment, **_: object) -> None:
    """Take our part in this process, before any run."""
    runner = environment.runner
    assert runner, "locust has made it before it calls this"  # noqa: S101  locust's order of events
    try:
        options = Options.read(environment.parsed_options)
        if not isinstance(runner, (MasterRunner, WorkerRunner)):  # a worker reads them for each run
            corpus_of(options.samples)
    except (OptionError, UnpreparedError) as error:
        raise SystemExit(str(error)) from None
    # Locust would kill at once who asks while it stops.
    environment.stop_timeout = max(environment.stop_timeout, TIMEOUT_S)
    if isinstance(runner, WorkerRunner):
        Worker(environment, runner, Sender(environment))
        return
    leader = Leader(environment)
    leader.listen()
    shape: LoadTestShape | None = environment.shape_class
    if isinstance(shape, Pace):
        shape.leader = leader
