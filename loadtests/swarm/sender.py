"""One process that makes load: a local one, or one of Locust's workers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import gevent
from locust.env import Environment

from loadtests.arrivals import TraceError, poisson, share, trace
from loadtests.loopback import ElsewhereError, check_loopback
from loadtests.outcome import OPEN
from loadtests.swarm.asker import TASKS, Asker, Stage
from loadtests.swarm.collect import Collector, Report
from loadtests.swarm.loops import ClosedLoop, OpenLoop
from loadtests.swarm.options import OptionError, Options
from loadtests.traffic.corpus import Corpus, CorpusError, read_corpus
from loadtests.traffic.questions import Mix
from loadtests.traffic.subjects import SubjectError, read_subjects

# Beyond the time that a client gives a request; then whoever still asks is cut off.
SLACK_S: Final = 5.0


class UnpreparedError(Exception):
    """There is nothing to ask, or nobody; the message says what is missing."""


@cache
def corpus_of(folder: Path) -> Corpus:
    """Read the samples of a folder, once a process.

    Raises:
        UnpreparedError: There are none.
    """
    try:
        # In a thread: it takes seconds, after which Locust's master would count a silent worker as lost.
        corpus: Corpus = gevent.get_hub().threadpool.apply(read_corpus, (folder,))
    except CorpusError as error:
        raise UnpreparedError(str(error)) from None
    return corpus


class Sender:
    """Makes ready for a run, begins, reports, and ends."""

    def __init__(self, environment: Environment) -> None:
        """Wait for the first run."""
        self._environment = environment
        self._stage: Stage | None = None
        self._arrivals: tuple[float, ...] = ()

    def prepare(self) -> None:
        """Set the stage for the users of a run.

        Raises:
            UnpreparedError: There is nothing to ask, or nobody.
        """
        self._stage = None
        try:
            options = Options.read(self._environment.parsed_options)
            self._arrivals = trace(options.trace) if options.trace else ()
            url = _url(self._environment)
            for address in () if options.remote else (url, f"//{options.grpc}"):
                check_loopback(urlsplit(address).hostname or "")
            subjects = read_subjects(url, options.models, options.token)
        except (ElsewhereError, OptionError, SubjectError, TraceError) as error:
            raise UnpreparedError(str(error)) from None
        seed = f"{options.seed}/{max(0, getattr(self._environment.runner, 'worker_index', 0))}"
        random.seed(seed)  # Locust draws each user's next task from it
        mix = Mix(
            subjects,
            corpus_of(options.samples),
            seed=seed,
            units=options.units,
            deadline_ms=options.deadline_ms,
        )
        _drop_tasks(self._environment, mix)
        collector = Collector()
        tell = collector.tell_due
        loop = OpenLoop(tell, seed) if options.loop == OPEN else ClosedLoop(tell)
        self._stage = Asker.stage = Stage(options=options, mix=mix, loop=loop, collector=collector)

    def begin(self, at: float, worker: int, workers: int) -> None:
        """Let requests arrive from that Unix time on: the share of one worker of several."""
        if self._stage and isinstance(self._stage.loop, OpenLoop):
            self._stage.loop.begin(at, self._share(self._stage.options, worker, workers))

    def end(self) -> None:
        """Send nothing any more, and wait until all that is under way is answered."""
        if self._stage:
            self._stage.loop.end()
            self._stage.loop.idle.wait(self._stage.timeout_s + SLACK_S)

    def report(self) -> Report | None:
        """What is new; None before the first run."""
        return self._stage.collector.report(self._stage.loop) if self._stage else None

    def _share(self, options: Options, worker: int, workers: int) -> Iterator[float]:
        if options.shape:
            return poisson(options.shape, options.seed, worker, workers)
        return iter(share(self._arrivals, worker, workers))


def _url(environment: Environment) -> str:
    if not environment.host:
        raise OptionError("--host: is missing, must be http://HOST:PORT of the gateway's REST door")
    return environment.host.rstrip("/")


def _drop_tasks(environment: Environment, mix: Mix) -> None:
    """Leave out what cannot be asked here, such as photographs where there are none."""
    drawable = {kind.name for kind in mix.kinds}
    for user in environment.user_classes:
        user.tasks = [task for task in user.tasks if TASKS.get(task) in drawable]
        if not user.tasks:
            missing = ", ".join(mix.corpus.left_out)
            raise UnpreparedError(f"--tags, --exclude-tags: leave nothing to ask; {missing or 'see --help'}")
