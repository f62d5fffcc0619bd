"""Locust's entry: options, counting, and the verdict on the digits. `python -m loadtests` runs it.

By hand, against a running gateway: locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import grpc.experimental.gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.stats import StatsEntry

from loadtests.corpus import CorpusError, read_corpus
from loadtests.tally import Exchange, Tally
from loadtests.users import Asker, GrpcUser, Plan, RestBinaryUser, RestJsonUser

__all__ = ["GrpcUser", "RestBinaryUser", "RestJsonUser"]

PERCENTILES = (0.5, 0.9, 0.99)
# The nets name 97.5 % of all held-out digits rightly; of 30 samples two that are hard cost 7 %. A mix-up of
# answers would leave 10 %.
ACCURACY_FLOOR = 0.9

log = logging.getLogger(__name__)

# Importing locust has patched the standard library; gRPC must follow before the first channel.
grpc.experimental.gevent.init_gevent()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator] # locust's lack
def add_options(parser: LocustArgumentParser, **_: object) -> None:
    """Declare what our users need to know."""
    group = parser.add_argument_group("attnserve")
    group.add_argument("--grpc", default="127.0.0.1:8001", help="host:port of the gateway's gRPC door")
    group.add_argument(
        "--models",
        default="digits_plain,digits_se,digits_eca,digits_sk",
        help="names of the models, by comma",
    )
    group.add_argument("--samples", default="run/samples", help="folder of LABEL-N.png")
    group.add_argument(
        "--accuracy-floor", type=float, default=ACCURACY_FLOOR, help="least share of digits named rightly"
    )
    group.add_argument("--result", default="", help="file for the counts, as JSON")


@events.init.add_listener  # type: ignore[untyped-decorator] # locust's lack
def prepare(environment: Environment, **_: object) -> None:
    """Read the images, and count every request that is reported to Locust."""
    options = environment.parsed_options
    assert options is not None, "locust parses its command line before it calls this"  # noqa: S101
    try:
        corpus = read_corpus(Path(options.samples))
    except CorpusError as error:
        raise SystemExit(str(error)) from None
    Asker.plan = Plan(grpc=options.grpc, models=tuple(options.models.split(",")), corpus=corpus)
    tally = Tally()

    def count(context: dict[str, Any], **_: object) -> None:
        exchange: Exchange = context["exchange"]
        tally.add(exchange)

    def conclude(environment: Environment, **_: object) -> None:
        if tally.accuracy < options.accuracy_floor:
            log.error(
                "%.1f %% of the digits were right, expected %.1f %%", *_percent(tally, options.accuracy_floor)
            )
            environment.process_exit_code = 1
        if options.result:
            Path(options.result).write_text(json.dumps(_result(tally, environment)), encoding="utf-8")

    environment.events.request.add_listener(count)  # type: ignore[no-untyped-call] # locust's lack
    environment.events.quitting.add_listener(conclude)  # type: ignore[no-untyped-call] # locust's lack


def _percent(tally: Tally, floor: float) -> tuple[float, float]:
    return 100 * tally.accuracy, 100 * floor


def _result(tally: Tally, environment: Environment) -> dict[str, Any]:
    stats = environment.stats
    return {
        "tally": tally.as_json(),
        "rows": [_row(entry) for _, entry in sorted(stats.entries.items())],
        "errors": [
            f"{error.method} {error.name}: {error.error} ({error.occurrences} times)"
            for error in stats.errors.values()
        ],
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
