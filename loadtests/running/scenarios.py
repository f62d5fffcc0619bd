"""What can be done to a gateway: how the load of each scenario goes, and which options it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from loadtests.outcome import CLOSED, OPEN
from loadtests.shapes import Segment, Shape

# A level -> a shape of any length, which is then stretched to the seconds asked for.
Profile: TypeAlias = Callable[[float], Shape]
_OPEN_TAKES: Final = ("rate", "seconds", "shape", "slots")
_WAYS: Final = 3  # gRPC, and REST in two forms
_CLOSED_TAKES: Final = ("users", "seconds", "shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to put load on a gateway.

    Attributes:
        name: On the command line.
        summary: What it does, in a sentence without its full stop.
        loop: "open" (requests arrive whatever becomes of those before) or "closed" (each user waits).
        profile: How its load goes.
        seconds: How long it takes by default; of a replay its trace says so.
        level: By default, of a closed loop: users; of an open one: the rate over a burst's.
        takes: Those of the options of load that fit it.
        one_model: Whether it is about a single model.
        breaks: Whether it is to find where the service breaks: shed and late requests are no failures then.
        for_s: Seconds of a broken promise that end it, by default.
        tags: Kinds of questions, by default; "" is every kind.
        twins: Whether its model is compared with itself.
        fits: Whether a queueing model is fitted on its steps.
    """

    name: str
    summary: str
    loop: str
    profile: Profile
    seconds: float
    level: float
    takes: tuple[str, ...]
    one_model: bool = False
    breaks: bool = False
    for_s: float | None = None
    tags: str = ""
    twins: bool = False
    fits: bool = False


def _held(*shares: float) -> Profile:
    """These shares of the level, each as long as the others."""
    return lambda level: Shape(
        tuple(Segment(seconds=1, first=share * level, last=share * level) for share in shares)
    )


def _ramp(level: float) -> Shape:
    return Shape((Segment(seconds=1, first=0, last=level),))


def _spike(level: float) -> Shape:
    times = ((2, 1), (1, 5), (2, 1))
    return Shape(tuple(Segment(seconds=for_s, first=by * level, last=by * level) for for_s, by in times))


def _doubled(level: float) -> Shape:
    """3, 6, 12 and so on users, and at last all: as many of each way, so that only the load changes."""
    counts = [_WAYS * 2**power for power in range(int(level).bit_length()) if _WAYS * 2**power < level]
    return Shape(tuple(Segment(seconds=1, first=count, last=count) for count in (*counts, level)))


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="smoke",
            summary="A few users for a short while: is every reply right, and every request counted",
            loop=CLOSED, profile=_held(1), seconds=20, level=8, takes=_CLOSED_TAKES,
        ),
        Scenario(
            name="steady",
            summary="Requests that arrive at random at one rate",
            loop=OPEN, profile=_held(1), seconds=60, level=0.5, takes=_OPEN_TAKES,
        ),
        Scenario(
            name="replay",
            summary="Requests that arrive when a trace says so",
            loop=OPEN, profile=_held(1), seconds=0, level=0, takes=("trace", "slots"),
        ),
        Scenario(
            name="steps",
            summary="From a quarter of the rate to one and a half times it, in steps",
            loop=OPEN, profile=_held(0.25, 0.5, 0.75, 1, 1.25, 1.5), seconds=180, level=1, takes=_OPEN_TAKES,
            breaks=True, for_s=10,
        ),
        Scenario(
            name="ramp",
            summary="From nothing up to the rate, until the promise breaks",
            loop=OPEN, profile=_ramp, seconds=120, level=2, takes=_OPEN_TAKES, breaks=True, for_s=5,
        ),
        Scenario(
            name="spike",
            summary="Five times the rate for a fifth of the time, and how long it takes to recover",
            loop=OPEN, profile=_spike, seconds=60, level=0.3, takes=_OPEN_TAKES, breaks=True,
        ),
        Scenario(
            name="soak",
            summary="One rate for half an hour: does anything grow, slow down or get lost",
            loop=OPEN, profile=_held(1), seconds=1800, level=0.5, takes=_OPEN_TAKES, for_s=60,
        ),
        Scenario(
            name="users",
            summary="3, 6, 12 and more users, each of whom waits for the answer before the next question",
            loop=CLOSED, profile=_doubled, seconds=120, level=48, takes=_CLOSED_TAKES, breaks=True, for_s=10,
        ),
        Scenario(
            name="capacity",
            summary="Steps of one model, a queueing model fitted on them, and how many replicas a rate needs",
            loop=OPEN, profile=_held(0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1, 1.1), seconds=160, level=1,
            takes=(*_OPEN_TAKES, "target_rate"), one_model=True, breaks=True, for_s=10, tags="image",
            fits=True,
        ),
        Scenario(
            name="aa",
            summary="An experiment of two arms that are one model: no difference may be found",
            loop=OPEN, profile=_held(1), seconds=120, level=0.5, takes=_OPEN_TAKES, one_model=True,
            twins=True,
        ),
    )
})  # fmt: skip
# Measured before an open loop whose rate is not given.
BURST: Final = Scenario(
    name="burst",
    summary="Users who keep a gateway busy for a few seconds",
    loop=CLOSED, profile=_held(1), seconds=6, level=48, takes=(),
)  # fmt: skip
