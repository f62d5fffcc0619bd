"""A plan carried out: Locust makes the load, the gateway is watched meanwhile, and counts are compared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from loadtests.exchanges import read_exchanges
from loadtests.machine import Machine
from loadtests.outcome import OPEN, GeneratorCost, Run
from loadtests.running.launch import Job, Launched, launch
from loadtests.running.plans import Plan, split
from loadtests.running.sites import Site
from loadtests.running.watch import Watch, watching
from loadtests.running.wish import Wish
from loadtests.scrape import scrape
from loadtests.tally import Counts, Tally, differences

SLOTS: Final = 128
_LOCUSTFILES: Final = {"attnserve": "locustfile.py", "triton": "locustfile_triton.py"}
_WARM_UP_S: Final = 1.0  # of a burst, until every user is connected
_SETTLED_S: Final = 5.0  # a request whose caller has left is counted when the gateway is done with it
_POLL_S: Final = 0.1


class NothingAnsweredError(Exception):
    """A gateway that answers nothing, or not for long enough, cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What came of a plan.

    Attributes:
        run: All of it, for the report.
        tally: Locust's counts.
        status: Locust's exit code.
    """

    run: Run
    tally: Tally
    status: int


def execute(plan: Plan, wish: Wish, site: Site, folder: Path) -> Execution:
    """Put a load on a gateway, and ask it afterwards what it counted.

    Raises:
        LaunchError: Locust did not do its work.
        httpx.HTTPError: The gateway's metrics cannot be read before the load.
    """
    before = scrape(site.target.metrics).requests(site.models)
    with watching(site.target.metrics, site.models) as watch:
        launched = launch(_job(plan, wish, site, folder))
    tally = Tally.of_json(launched.result["tally"])
    found = _differences(tally.requests, before, site)
    run = _run(plan, wish, site, (launched, watch, found))
    return Execution(run=run, tally=tally, status=launched.status)


def measure(plan: Plan, wish: Wish, site: Site, folder: Path) -> float:
    """Requests a second that the users of a closed loop reach.

    Raises:
        LaunchError: As `execute`.
        NothingAnsweredError: None was answered rightly, or it was ended before its time.
    """
    launched = launch(_job(plan, wish, site, folder))
    if stopped := launched.result["stopped"]:
        raise NothingAnsweredError(f"--rate: cannot be measured: {stopped}")
    exchanges = read_exchanges(launched.exchanges)
    began = float(launched.result["began"])
    begins, ends = began + _WARM_UP_S, began + plan.shape.seconds
    within = (exchanges.ended >= begins) & (exchanges.ended < ends)
    answered = int((within & ~exchanges.failed).sum())
    if not answered:
        errors = "; ".join(launched.result["errors"]) or "no request was sent"
        raise NothingAnsweredError(f"--rate: cannot be measured, as nothing was answered rightly: {errors}")
    return answered / (ends - begins)


def _job(plan: Plan, wish: Wish, site: Site, folder: Path) -> Job:
    return Job(
        locustfile=Path(__file__).parents[1] / _LOCUSTFILES[wish.client],
        arguments=tuple(_arguments(plan, wish, site)),
        seconds=plan.shape.seconds,
        workers=wish.workers,
        folder=folder,
        token=wish.token,
        remote_workers=wish.remote_workers,
    )


def _arguments(plan: Plan, wish: Wish, site: Site) -> Iterator[str]:
    """For Locust and our locustfiles; see `loadtests.swarm.options`."""
    values: dict[str, object] = {
        "--host": site.target.http,
        "--grpc": site.target.grpc,
        "--models": ",".join(site.asked),
        "--samples": site.samples,
        "--accuracy-floor": wish.accuracy_floor,
        "--loop": plan.scenario.loop,
        "--seed": wish.seed,
        "--deadline-ms": wish.deadline_ms,
        "--units": wish.units,
        "--slo-ms": plan.slo.p99_ms,
        "--slo-failures": plan.slo.failures,
        "--slo-for": plan.slo.for_s,
        "--slots": _slots(plan, wish) or None,
        "--trace": wish.trace,
        "--shape": plan.shape if wish.trace is None else None,
    }
    for name, value in values.items():
        if value is not None:
            yield from (name, str(value))
    for flag, is_set in (("--feedback", wish.feedback), ("--remote", wish.remote)):
        if is_set:
            yield flag
    for name, tags in (("--tags", wish.tags or plan.scenario.tags), ("--exclude-tags", wish.exclude_tags)):
        if tags:
            yield from (name, *split(tags))


def _slots(plan: Plan, wish: Wish) -> int:
    return wish.slots or SLOTS if plan.scenario.loop == OPEN else 0


def _differences(sent: Counts, before: Counts, site: Site) -> tuple[str, ...]:
    """Lines, once the gateway has counted all or stays behind."""
    ends = time.monotonic() + _SETTLED_S
    while True:
        found = _differences_now(sent, before, site)
        if not found or time.monotonic() > ends:
            return tuple(found)
        time.sleep(_POLL_S)


def _differences_now(sent: Counts, before: Counts, site: Site) -> list[str]:
    try:
        counted = scrape(site.target.metrics).requests(site.models)
    except httpx.HTTPError as error:  # a gateway that broke under the load: the run is what shows how
        return [f"the gateway's counts cannot be read any more: {str(error) or type(error).__name__}"]
    counted.subtract(before)
    return differences(site.comparable(sent), site.comparable(counted))


def _run(plan: Plan, wish: Wish, site: Site, made: tuple[Launched, Watch, tuple[str, ...]]) -> Run:
    launched, watch, found = made
    result = launched.result
    began, ended = float(result["began"]), float(result["ended"])
    return Run(
        scenario=plan.scenario.name,
        summary=plan.scenario.summary,
        loop=plan.scenario.loop,
        options=_options(plan, wish, site),
        target=site.target.http,
        began=began,
        ended=ended,
        stopped=result["stopped"],
        exchanges=read_exchanges(launched.exchanges),
        phases=plan.phases(began, ended),
        slo=plan.slo,
        snapshots=watch.snapshots,
        generators=_generators(launched),
        differences=found,
        receipts=result["receipts"],
        errors=tuple(result["errors"]),
        machine={name: str(value) for name, value in asdict(Machine.here()).items()},
        slots=_slots(plan, wish) * max(1, wish.workers),
        waited=int(result["waited"]),
    )


def _generators(launched: Launched) -> tuple[GeneratorCost, ...]:
    result = launched.result
    sent = {int(pid): int(count) for pid, count in result["sent"].items()}
    return launched.generators.costs(sent, result["began"], result["ended"])


def _options(plan: Plan, wish: Wish, site: Site) -> dict[str, str]:
    """For people, and to run it again; the token is nobody's business."""
    options = {
        "load": str(wish.trace or plan.shape),
        "models": ", ".join(site.asked),
        "samples": str(site.samples),
        "client": wish.client,
        "workers": str(wish.workers or 1),
        "seed": str(wish.seed),
        "tags": wish.tags or plan.scenario.tags or "all",
        "without tags": wish.exclude_tags,
        "units": str(wish.units or ""),
        "feedback": "yes" if wish.feedback else "",
        "deadline": f"{wish.deadline_ms:g} ms" if wish.deadline_ms else "",
    }
    return {name: value for name, value in options.items() if value}
