"""What a list says of each experiment: its verdict and the sentence, without making anybody wait for all.

Most are known: those that run are evaluated at every poll, and what an evaluation said is kept. The rest,
ended ones after a restart of the gateway, are evaluated in the readers' threads, a few at each question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog

from serve.core.errors import ServeError
from serve.core.experiment import Experiment, State
from serve.experiments.reports import Headline, Reports

log = structlog.get_logger(__name__)

# Seconds after which a question begins no further evaluation: what is not known by then is told so.
BUDGET_S = 0.3
# Evaluations at a time, of all questions together: they take processor time from the requests.
MOST_AT_ONCE = 2


class Headlines:
    """Tells verdicts, of as many experiments as it can in good time."""

    def __init__(self, reports: Reports, clock: Callable[[], float] = time.monotonic) -> None:
        """Evaluate nothing yet.

        Args:
            reports: Evaluates, and keeps what comes of it.
            clock: Gives seconds.
        """
        self._reports = reports
        self._clock = clock
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        # Experiment -> the version and the writes of which a bug has been told.
        self._odd: dict[int, tuple[int, int]] = {}

    async def of(self, experiments: Iterable[Experiment]) -> Mapping[str, Headline]:
        """By name, of those that are known or can be soon, the newest first; a draft has none.

        Where the time was too short, it is what was last known of that version. Where the ledger does not
        answer, nothing is known.
        """
        begun = sorted(
            (one for one in experiments if one.state is not State.DRAFT),
            key=lambda one: one.created_at,
            reverse=True,
        )
        try:
            writes = await self._reports.recent_activity() if begun else {}
        except ServeError:  # the watch over the experiments has told it
            return {}
        last = self._reports.last_headline
        missing = [one for one in begun if self._reports.headline(one, writes.get(one.id, 0)) is None]
        if missing:  # those of which nothing is known come first: others, with traffic, are never done
            await self._find(sorted(missing, key=lambda one: last(one) is not None), writes)
        return {one.name: headline for one in begun if (headline := last(one))}

    async def _find(self, missing: Iterable[Experiment], writes: Mapping[int, int]) -> None:
        ends = self._clock() + BUDGET_S
        left = iter(missing)
        await asyncio.gather(*(self._evaluate(left, writes, ends) for _ in range(MOST_AT_ONCE)))

    async def _evaluate(self, left: Iterator[Experiment], writes: Mapping[int, int], ends: float) -> None:
        """Evaluate one after the other until the time is over; others take from the same ones."""
        async with self._places:
            while self._clock() < ends and (experiment := next(left, None)):
                seen = (experiment.number, writes.get(experiment.id, 0))
                if self._odd.get(experiment.id) == seen:
                    continue
                try:
                    await self._reports.learn(experiment, seen[1])
                except ServeError:  # as above
                    return
                except Exception:
                    self._odd[experiment.id] = seen
                    log.exception("experiment cannot be evaluated", experiment=experiment.name)
