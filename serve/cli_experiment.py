"""`attnserve experiment ...`: make experiments, change them, look at them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from serve import cli_acts, cli_findings
from serve.cli_gateway import IfMatchOption, NameArgument, ReasonOption, WaitOption, at_gateway, say_changed
from serve.cli_parts import FAILED, JsonOption, console, print_json, stderr
from serve.client import ClientError, UnreachableError
from serve.experiment_client import ExperimentClient, Json
from serve.terminal import versions
from serve.terminal.changes import changes
from serve.terminal.example import EXAMPLE
from serve.terminal.files import STDIN, InputError, read_mapping
from serve.terminal.plan import show_plan
from serve.terminal.traffic import Traffic, traffic

app = typer.Typer(
    name="experiment",
    no_args_is_help=True,
    help="Compare models on live traffic: create, start, ramp, report, promote or roll back.",
    epilog="Start with: attnserve experiment create --example > design.yaml",
)


def _show_example(value: bool) -> None:
    if value:
        typer.echo(EXAMPLE, nl=False)
        raise typer.Exit


FileArgument = Annotated[
    Path, typer.Argument(help="The design: YAML or JSON; - is standard input.", metavar="FILE")
]
UnitsOption = Annotated[
    float | None,
    typer.Option("--units-per-day", help="Units that come a day, to tell how long it takes.", metavar="N"),
]
MetricsOption = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="The gateway's metrics, http://host:8002/metrics, to read the traffic from.",
        metavar="URL",
        show_default=False,
    ),
]


@app.command()
@at_gateway
def create(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    file: FileArgument,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; else `reason` in the file.", show_default=False)
    ] = "",
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    wait: WaitOption = False,
    units_per_day: UnitsOption = None,
    metrics: MetricsOption = "",
    as_json: JsonOption = False,
    _example: Annotated[
        bool,
        typer.Option(
            "--example", callback=_show_example, is_eager=True, help="Print a design to begin with, and end."
        ),
    ] = False,
) -> None:
    """Show what an experiment needs, ask, and make it: a draft that serves nobody before it is started.

    Example: attnserve experiment create design.yaml --start --reason "is ECA as good?"
    """
    design = read_mapping(file)
    reason = reason or str(design.pop("reason", ""))
    if not reason:
        raise InputError(f"{file}: reason is missing: say why, there or with --reason")
    if not yes and (file == STDIN or not sys.stdin.isatty()):
        raise InputError("standard input is no terminal, so nobody can be asked: give --yes to create it")
    told = console if not as_json else stderr
    seen = _traffic(client, design, units_per_day, metrics)
    show_plan(told, _planned(client, file, design, seen), seen.sentence)
    if not yes and not typer.confirm(f"Create {design.get('name')!r}?", err=True):
        raise typer.Exit(FAILED)
    made = client.create(design, reason)
    if start:
        made = _started(client, made, reason)
    say_changed(client, made, wait=wait, as_json=as_json)


@app.command()
@at_gateway
def plan(
    client: ExperimentClient,
    file: FileArgument,
    *,
    units_per_day: UnitsOption = None,
    metrics: MetricsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what a design would need: units, days, the difference that it can show. Nothing is made.

    Example: attnserve experiment plan design.yaml --units-per-day 2000
    """
    design = read_mapping(file)
    seen = _traffic(client, design, units_per_day, metrics)
    found = _planned(client, file, design, seen)
    if as_json:
        print_json(found)
    else:
        show_plan(console, found, seen.sentence)


@app.command("list")
@at_gateway
def list_experiments(client: ExperimentClient, *, as_json: JsonOption = False) -> None:
    """List all experiments, each in its newest version.

    Example: attnserve experiment list
    """
    found = client.list()
    if as_json:
        print_json(found)
    else:
        versions.show_list(console, found)


@app.command()
@at_gateway
def show(client: ExperimentClient, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Show an experiment in its newest version, as YAML that `create` reads.

    Example: attnserve experiment show digits-se-vs-eca > design.yaml
    """
    found = client.get(name)
    if as_json:
        print_json(found)
    else:
        versions.show_design(console, found)


@app.command()
@at_gateway
def edit(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    reason: ReasonOption,
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE as in the design; repeat for several.", metavar="KEY=VALUE"),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="YAML or JSON with the keys that change.", metavar="FILE"),
    ] = None,
    if_match: IfMatchOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Change what is named, and nothing else; null gives a key its default back.

    Once it has started, only that may change which leaves its statistics valid.

    Example: attnserve experiment edit digits-se-vs-eca --set sample=5000 --reason "spare the GPU"
    """
    named = changes(read_mapping(file) if file else {}, settings or ())
    if not named:
        raise InputError("nothing is named that should change: give --set KEY=VALUE or --file FILE")
    say_changed(client, client.patch(name, named, reason, if_match), wait=wait, as_json=as_json)


@app.command()
@at_gateway
def audit(client: ExperimentClient, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Show every version there was: who changed what, when and why.

    Example: attnserve experiment audit digits-se-vs-eca
    """
    found = client.audit(name)
    if as_json:
        print_json(found)
    else:
        versions.show_audit(console, found)


for _name, _command in {**cli_acts.COMMANDS, **cli_findings.COMMANDS}.items():
    app.command(_name)(_command)


def _started(client: ExperimentClient, draft: Json, reason: str) -> Json:
    try:
        return client.act(draft["name"], "start", {"reason": reason}, None)
    except ClientError as error:
        raise type(error)(f"{draft['name']} is made, but not started: {error}") from None


def _planned(client: ExperimentClient, file: Path, design: Json, seen: Traffic) -> Json:
    """The plan; what is wrong with the design is the file's fault."""
    try:
        with stderr.status("planning"):
            return client.plan(design, seen.per_day)
    except UnreachableError:
        raise
    except ClientError as error:
        raise ClientError(f"{file}: {error}") from None


def _traffic(client: ExperimentClient, design: Json, given: float | None, metrics: str) -> Traffic:
    """How many units come a day, and who says so."""
    if given is not None:
        return Traffic(per_day=given, sentence=f"Days are for {given:,.10g} units a day.")
    if not metrics:
        hint = (
            "To see how many days that takes, give --units-per-day N or --metrics http://HOST:8002/metrics."
        )
        return Traffic(per_day=None, sentence=hint)
    arms = design.get("arms")
    models = (
        {str(arm.get("model")) for arm in arms if isinstance(arm, dict)} if isinstance(arms, list) else ()
    )
    try:
        return traffic(client.metrics(metrics), models)
    except (UnreachableError, ValueError) as error:
        return Traffic(per_day=None, sentence=f"No days, the traffic cannot be read: {error}")
