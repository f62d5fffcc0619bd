"""Which experiments and aliases are in force: the ledger is asked again and again, every gateway agrees.

A version holds from its `effective_at` on, so that gateways which have all read it by then change together.
One that cannot reach the ledger goes on with what it knows, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from serve.core.assignment import Assigner
from serve.core.errors import UnavailableError
from serve.core.experiment import Alias, Experiment, Plan, State
from serve.experiments.threads import LedgerThreads
from serve.ledger.database import told
from serve.ledger.ledger import Ledger
from serve.metrics import Metrics

log = structlog.get_logger(__name__)

WHAT = "experiments"
V = TypeVar("V", Experiment, Alias)
_AT_ONCE = frozenset({State.ROLLED_BACK, State.STOPPED})


@dataclass(frozen=True, slots=True)
class Standing:
    """An experiment in force, with its hashes made ready."""

    experiment: Experiment
    assigner: Assigner


class Plans:
    """The plan of this moment, kept so by `run`.

    Attributes:
        known: Whether the ledger has ever been read; before, a name that is not found may be there.
        on_change: Called after the plan has changed, with the old and the new one.
    """

    def __init__(
        self,
        ledger: Ledger,
        threads: LedgerThreads,
        metrics: Metrics,
        clock: Callable[[], float],
        poll_interval_s: float,
    ) -> None:
        """Know nothing yet; `clock` gives Unix time."""
        self._ledger = ledger
        self._threads = threads
        self._reloaded = metrics.config_reload_success.labels(WHAT)
        self._clock = clock
        self._interval_s = poll_interval_s
        self._versions: dict[str, dict[int, Experiment]] = {}
        self._aliases: dict[str, dict[int, Alias]] = {}
        self._read = 0
        self._answered_at = clock()
        self._well = True
        self.known = False
        self._standing: dict[str, Standing] = {}
        self.current = Plan()
        self.on_change: Callable[[Plan, Plan], None] = lambda _old, _new: None

    @property
    def stale_s(self) -> float:
        """Seconds since the ledger last answered."""
        return max(0.0, self._clock() - self._answered_at)

    @property
    def stale(self) -> bool:
        """Whether the ledger did not answer when it was last asked."""
        return not self._well

    def find(self, name: str) -> Standing | None:
        """The experiment of that name that is in force."""
        return self._standing.get(name)

    def newest(self, name: str) -> Experiment | None:
        """The newest version that is known, in force or not yet."""
        versions = self._versions.get(name)
        return versions[max(versions)] if versions else None

    def experiments(self) -> tuple[Experiment, ...]:
        """The newest version of every experiment, by name."""
        return tuple(versions[max(versions)] for _, versions in sorted(self._versions.items()))

    def newest_alias(self, name: str) -> Alias | None:
        """The newest version of an alias that is known, in force or not yet."""
        versions = self._aliases.get(name)
        return versions[max(versions)] if versions else None

    def aliases(self) -> tuple[Alias, ...]:
        """The newest version of every alias, by name."""
        return tuple(versions[max(versions)] for _, versions in sorted(self._aliases.items()))

    def apply(self, written: Experiment | Alias) -> None:
        """Take in what this gateway has just written, before the next look at the ledger."""
        if isinstance(written, Experiment):
            self._versions.setdefault(written.name, {})[written.number] = written
        else:
            self._aliases.setdefault(written.name, {})[written.number] = written
        self._settle()

    async def refresh(self) -> None:
        """Read what is new in the ledger; what goes wrong there changes nothing, and `read` has told it."""
        with contextlib.suppress(Exception):
            await self.read()

    async def read(self) -> None:
        """Read what is new in the ledger.

        Raises:
            UnavailableError: It does not answer; nothing has changed.
        """
        try:
            experiments, aliases = await self._threads.run(self._new_ones)
        except UnavailableError as error:
            self._tell(well=False, why=told(error))
            raise
        except Exception:
            if self._well:
                log.exception("reading experiments failed")
            self._tell(well=False, why="an internal error")
            raise
        self._tell(well=True)
        self.known = True
        self._answered_at = self._clock()
        for read in (experiments, aliases):
            self._read = max(self._read, *(version.seq for version in read), 0)
        for experiment in experiments:
            self._versions.setdefault(experiment.name, {})[experiment.number] = experiment
        for alias in aliases:
            self._aliases.setdefault(alias.name, {})[alias.number] = alias
        self._settle()

    async def run(self) -> None:
        """Look again and again, and change to what becomes effective when it does; does not end by itself."""
        while True:
            ends = self._clock() + self._interval_s
            while (left := min(ends, self._next_change()) - self._clock()) > 0:
                await asyncio.sleep(left)
                self._settle()
            if self._clock() >= ends:
                await self.refresh()

    def _new_ones(self) -> tuple[Sequence[Experiment], Sequence[Alias]]:
        self._ledger.prepare()  # a database may come up after us
        return self._ledger.versions.since(self._read)

    def _next_change(self) -> float:
        now = self._clock()
        experiments = (one.effective_at for versions in self._versions.values() for one in versions.values())
        aliases = (one.effective_at for versions in self._aliases.values() for one in versions.values())
        return min((at for at in (*experiments, *aliases) if at > now), default=math.inf)

    def _settle(self) -> None:
        now = self._clock()
        plan = Plan(
            experiments=_in_force(self._versions, now),
            aliases={name: alias.target for name, alias in _in_force(self._aliases, now).items()},
        )
        if plan == self.current:
            return
        old, self.current = self.current, plan
        self._standing = {
            name: self._made_ready(name, experiment) for name, experiment in plan.experiments.items()
        }
        self.on_change(old, plan)

    def _made_ready(self, name: str, experiment: Experiment) -> Standing:
        known = self._standing.get(name)
        if known and known.experiment == experiment:
            return known
        return Standing(experiment, Assigner(experiment))

    def _tell(self, *, well: bool, why: str = "") -> None:
        self._reloaded.set(well)
        if well is not self._well:
            self._well = well
            if well:
                log.info("experiments are read again")
            else:
                log.error("experiments cannot be read, the last known ones stay in force", error=why)


def _in_force(kept: Mapping[str, dict[int, V]], now: float) -> dict[str, V]:
    """Of each name the newest version whose time has come; what is older is forgotten on the way."""
    found: dict[str, V] = {}
    for name, versions in kept.items():
        begun = [number for number, version in versions.items() if _holds(version, now)]
        if begun:
            found[name] = versions[max(begun)]
            for number in begun:
                if number < max(begun):
                    del versions[number]
    return found


def _holds(version: Experiment | Alias, now: float) -> bool:
    """Whether its time has come; that of an end comes when it is read, whatever the clock of who ended it."""
    return version.effective_at <= now or getattr(version, "state", None) in _AT_ONCE
