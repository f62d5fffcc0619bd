"""The locustfiles' options, on Locust's command line and in its web UI."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from loadtests.outcome import CLOSED, OPEN, Slo
from loadtests.shapes import Shape, ShapeError

# The nets name 97.5 % of all held-out digits rightly; of 30 samples two that are hard cost 7 %. A mix-up of
# answers would leave 10 %.
ACCURACY_FLOOR: Final = 0.9

# Hidden: the web UI must neither show a secret nor let its visitors write files.
_HIDDEN: Final = {"include_in_web_ui": False}
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "--grpc": {"default": "127.0.0.1:8001", "help": "host:port of the gateway's gRPC door"},
        "--models": {
            "default": "digits_plain,digits_se,digits_eca,digits_sk",
            "help": "names of models, aliases or experiments, by comma",
        },
        "--samples": {"default": "run/samples", "help": "folder of images: LABEL-N.png, or LABEL/NAME.jpg"},
        "--accuracy-floor": {
            "type": float,
            "default": ACCURACY_FLOOR,
            "help": "least share of images with a label that get it",
        },
        "--loop": {
            "choices": (CLOSED, OPEN),
            "default": CLOSED,
            "help": "closed: each user waits for its answer; open: requests arrive all the same",
        },
        "--shape": {
            "default": "",
            "help": "SECONDS@LEVEL or SECONDS@FROM:TO, by comma; users in a closed loop (empty: as -u, -r and"
            " -t say), requests a second in an open one",
        },
        "--trace": {"default": "", "help": "open loop: file of arrivals to replay instead of a shape"},
        "--seed": {"type": int, "default": 1, "help": "draws arrivals and questions"},
        "--slots": {"type": int, "default": 64, "help": "open loop: most requests in flight of a process"},
        "--deadline-ms": {"type": float, "default": 0.0, "help": "deadline of each request; 0: none"},
        "--units": {"type": int, "default": 0, "help": "different units that ask; 0: none is named"},
        "--feedback": {"action": "store_true", "help": "tell experiments the labels that are known"},
        "--slo-ms": {
            "type": float,
            "default": 1000.0,
            "help": "99 %% of the requests are answered so soon after they are due",
        },
        "--slo-failures": {"type": float, "default": 0.01, "help": "most share of requests that fail"},
        "--slo-for": {
            "type": float,
            "default": 0.0,
            "help": "so many seconds in a row of a broken promise end the run; 0: nothing does",
        },
        # Hidden, as a visitor of the web UI is not who may allow that.
        "--remote": {"action": "store_true", "help": "allow a target that is not loopback", **_HIDDEN},
        "--token": {"default": "", "env_var": "ATTNSERVE_TOKEN", "help": "bearer token", **_HIDDEN},
        "--result": {"default": "", "help": "file for the counts, as JSON", **_HIDDEN},
        "--exchanges": {"default": "", "help": "file for every request, as JSON lines in gzip", **_HIDDEN},
    }
)
_ABOVE_0: Final = ("slots", "slo_ms")
_FROM_0: Final = ("seed", "deadline_ms", "units", "slo_for", "slo_failures", "accuracy_floor")


class OptionError(ValueError):
    """An option has a value that makes no sense; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for; see `--help`.

    Attributes:
        users: Locust's -u; for a closed loop without a shape, as are the next two.
        spawn_rate: Locust's -r: users that start each second.
        run_time_s: Locust's -t; None: until somebody ends it.
        headless: Whether Locust ends with the run.
        shape: None: the load goes as Locust's own options say, or as the trace does.
        slo: Its `for_s` is None where nothing is to stop the run.
    """

    users: int
    spawn_rate: float
    run_time_s: float | None
    headless: bool
    grpc: str
    models: tuple[str, ...]
    samples: Path
    accuracy_floor: float
    loop: str
    shape: Shape | None
    trace: Path | None
    seed: int
    slots: int
    deadline_ms: float
    units: int
    feedback: bool
    slo: Slo
    remote: bool
    token: str
    result: Path | None
    exchanges: Path | None

    @classmethod
    def read(cls, given: Namespace | None) -> Options:
        """From what Locust has parsed.

        Raises:
            OptionError: A value makes no sense, or does not fit the loop.
        """
        assert given, "locust parses its command line before it calls us"  # noqa: S101  locust's order of events
        _check(given)
        return cls(
            users=given.num_users or 1,
            spawn_rate=given.spawn_rate or 1,
            run_time_s=given.run_time or None,
            headless=bool(given.headless),
            grpc=given.grpc,
            models=tuple(name for part in given.models.split(",") if (name := part.strip())),
            samples=Path(given.samples),
            accuracy_floor=given.accuracy_floor,
            loop=given.loop,
            shape=_shape(given.shape),
            trace=_path(given.trace),
            seed=given.seed,
            slots=given.slots,
            deadline_ms=given.deadline_ms,
            units=given.units,
            feedback=given.feedback,
            slo=Slo(p99_ms=given.slo_ms, failures=given.slo_failures, for_s=given.slo_for or None),
            remote=given.remote,
            token=given.token,
            result=_path(given.result),
            exchanges=_path(given.exchanges),
        )


def add_options(parser: ArgumentParser) -> None:
    """Declare them all; the parser is Locust's own."""
    for name, properties in _OPTIONS.items():
        parser.add_argument(name, **properties)


def _check(given: Namespace) -> None:
    for name in (*_ABOVE_0, *_FROM_0):
        value, above = getattr(given, name), name in _ABOVE_0
        if value < 0 or (above and not value):
            rule = "above 0" if above else "at least 0"
            raise OptionError(f"--{name.replace('_', '-')}: is {value}, must be {rule}")
    if not given.models.strip(" ,"):
        raise OptionError("--models: is empty, must name at least one")
    if given.loop == CLOSED and given.trace:
        raise OptionError("--trace: is for the open loop; add --loop open")
    if given.loop == OPEN and bool(given.trace) == bool(given.shape):
        raise OptionError("--loop: open needs either --shape or --trace")


def _shape(text: str) -> Shape | None:
    try:
        return Shape.parse(text) if text else None
    except ShapeError as error:
        raise OptionError(f"--shape: {error}") from None


def _path(text: str) -> Path | None:
    return Path(text) if text else None
