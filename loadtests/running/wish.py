"""What was asked for on the command line; each field is an option, and None is "not given"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

_LOAD: Final = "Load"
_QUESTIONS: Final = "Questions"
_TARGET: Final = "Target"
_PROMISE: Final = "Promise to callers"
_REPORT: Final = "Report"
_MOST_WORKERS: Final = 64  # on one machine; more only wait for its cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options, in the words of `--help`."""

    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="What to do; --list shows what there is.")
    ] = "smoke"

    rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second (open loop): the level that a scenario is measured by."
            " Without it a short burst of users is measured first.",
            min=0.01,
            rich_help_panel=_LOAD,
        ),
    ] = None
    users: Annotated[
        int | None, typer.Option(help="Most concurrent users (closed loop).", min=1, rich_help_panel=_LOAD)
    ] = None
    seconds: Annotated[
        float | None, typer.Option(help="How long the whole run takes.", min=1.0, rich_help_panel=_LOAD)
    ] = None
    shape: Annotated[
        str | None,
        typer.Option(
            help="Instead of the scenario's: SECONDS@LEVEL or SECONDS@FROM:TO, several by comma.",
            rich_help_panel=_LOAD,
        ),
    ] = None
    target_rate: Annotated[
        float | None,
        typer.Option(
            help="capacity: requests a second that replicas are wanted for.",
            min=0.01,
            rich_help_panel=_LOAD,
        ),
    ] = None
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Arrivals to replay: seconds, a number a line, or CSV with a column 'time'.",
            metavar="FILE",
            rich_help_panel=_LOAD,
        ),
    ] = None
    seed: Annotated[
        int, typer.Option(help="The same one draws the same arrivals.", min=0, rich_help_panel=_LOAD)
    ] = 1
    slots: Annotated[
        int | None,
        typer.Option(
            help="Most requests in flight of each process (open loop).", min=1, rich_help_panel=_LOAD
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            help="Locust processes that make the load, under one more that leads them; 0: one does it all.",
            min=0,
            max=_MOST_WORKERS,
            rich_help_panel=_LOAD,
        ),
    ] = 0
    remote_workers: Annotated[
        bool,
        typer.Option(
            "--remote-workers",
            help="Start none of them here: wait for those that come from elsewhere, to port 5557.",
            rich_help_panel=_LOAD,
        ),
    ] = False

    host: Annotated[
        str | None,
        typer.Option(
            help="REST address of a running gateway, http://127.0.0.1:8000 by default. Where neither this nor"
            " --grpc or --metrics is given and nothing answers, one is started.",
            rich_help_panel=_TARGET,
        ),
    ] = None
    grpc: Annotated[
        str | None,
        typer.Option(help="Its gRPC address; port 8001 of --host by default.", rich_help_panel=_TARGET),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Its metrics page; http, port 8002 of --host and /metrics by default.",
            rich_help_panel=_TARGET,
        ),
    ] = None
    token: Annotated[
        str,
        typer.Option(
            envvar="ATTNSERVE_TOKEN", help="Bearer token.", show_default=False, rich_help_panel=_TARGET
        ),
    ] = ""
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Allow a target that is not loopback.", rich_help_panel=_TARGET),
    ] = False
    client: Annotated[
        Literal["attnserve", "triton"],
        typer.Option(help="Who asks: our own clients, or the stock tritonclient.", rich_help_panel=_TARGET),
    ] = "attnserve"

    models: Annotated[
        str,
        typer.Option(
            help="Names of models, aliases or experiments, by comma; by default every model that is ready.",
            show_default=False,
            rich_help_panel=_QUESTIONS,
        ),
    ] = ""
    samples: Annotated[
        Path | None,
        typer.Option(
            help="Images with labels: LABEL-N.png, or folders LABEL; run/samples by default.",
            metavar="FOLDER",
            rich_help_panel=_QUESTIONS,
        ),
    ] = None
    tags: Annotated[
        str,
        typer.Option(
            help="Only these kinds, by comma: image, batch, photo, tensor, corrupt, oversized.",
            show_default=False,
            rich_help_panel=_QUESTIONS,
        ),
    ] = ""
    exclude_tags: Annotated[
        str, typer.Option(help="None of these kinds.", show_default=False, rich_help_panel=_QUESTIONS)
    ] = ""
    units: Annotated[
        int | None,
        typer.Option(help="Different units that requests carry; 0: none.", min=0, rich_help_panel=_QUESTIONS),
    ] = None
    feedback: Annotated[
        bool,
        typer.Option(
            "--feedback", help="Tell experiments the labels that are known.", rich_help_panel=_QUESTIONS
        ),
    ] = False
    deadline_ms: Annotated[
        float,
        typer.Option(help="Deadline of each request; 0: none.", min=0, rich_help_panel=_QUESTIONS),
    ] = 0

    slo_ms: Annotated[
        float,
        typer.Option(
            help="99 % of the requests are answered so soon after they are due. A broken promise is reported;"
            " the command fails by it where --slo-for ends the run.",
            min=1,
            rich_help_panel=_PROMISE,
        ),
    ] = 1000
    slo_failures: Annotated[
        float,
        typer.Option(help="Most share of requests that fail.", min=0, max=1, rich_help_panel=_PROMISE),
    ] = 0.01
    slo_for: Annotated[
        float | None,
        typer.Option(
            help="So many seconds in a row of a broken promise end the run.", min=1, rich_help_panel=_PROMISE
        ),
    ] = None
    accuracy_floor: Annotated[
        float,
        typer.Option(
            help="Least share of images with a known label that get it.",
            min=0,
            max=1,
            rich_help_panel=_PROMISE,
        ),
    ] = 0.9

    report: Annotated[
        Path | None,
        typer.Option(
            help="For report.html, report.json and all requests; run/loadtest/SCENARIO-TIME by default.",
            metavar="FOLDER",
            rich_help_panel=_REPORT,
        ),
    ] = None
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="report.json of an earlier run to compare with; repeat it for several.",
            metavar="FILE",
            rich_help_panel=_REPORT,
        ),
    ] = None
    tolerance: Annotated[
        float,
        typer.Option(
            help="Share by which a figure may differ from that of --against and be the same.",
            min=0,
            rich_help_panel=_REPORT,
        ),
    ] = 0.1
