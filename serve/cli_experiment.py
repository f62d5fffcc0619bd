"""`attnserve experiment ...`: make experiments, change them, look at them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from serve import cli_findings
from serve.cli_gateway import IfMatchOption, NameArgument, ReasonOption, WaitOption, at_gateway, wait_for
from serve.cli_parts import FAILED, JsonOption, console, print_json, stderr
from serve.client import UnreachableError
from serve.core.experiment import WHOLE
from serve.experiment_client import ExperimentClient
from serve.terminal import versions
from serve.terminal.changes import changes
from serve.terminal.example import EXAMPLE
from serve.terminal.files import STDIN, InputError, read_mapping
from serve.terminal.plan import show_plan
from serve.terminal.traffic import Traffic, traffic

Json = dict[str, Any]

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
    plan, seen = _planned(client, design, units_per_day, metrics)
    show_plan(told, plan, seen.sentence)
    if not yes and not typer.confirm(f"Create {design.get('name')!r}?", err=True):
        raise typer.Exit(FAILED)
    made = client.create(design, reason)
    if start:
        made = client.act(made["name"], "start", {"reason": reason}, None)
    _tell(client, made, wait=wait, as_json=as_json)


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
    found, seen = _planned(client, design, units_per_day, metrics)
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
    _tell(client, client.patch(name, named, reason, if_match), wait=wait, as_json=as_json)


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


def _share(text: str) -> int:
    """A share in 1/10 000, from "25%" or "2500"."""
    found = re.fullmatch(r"(\d{1,5})|(\d{1,3})(?:\.(\d{1,2}))?\s*%", text.strip(), re.ASCII)
    if found:
        whole, percent, hundredths = found.groups()
        share = int(whole) if whole else 100 * int(percent) + int((hundredths or "0").ljust(2, "0"))
        if share <= WHOLE:
            return share
    raise typer.BadParameter(f"is {text!r}, must be like 25% (at most two decimals) or 2500 of {WHOLE}")


@app.command()
@at_gateway
def ramp(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    share: Annotated[int, typer.Argument(parser=_share, help="25%, or 2500 of 10000.", metavar="SHARE")],
    reason: ReasonOption,
    *,
    if_match: IfMatchOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol another share of the units; whoever takes part already stays when it grows.

    Example: attnserve experiment ramp digits-se-vs-eca 25% --reason "nothing unusual at 10 %"
    """
    body = {"ramp": share, "reason": reason}
    _tell(client, client.act(name, "ramp", body, if_match), wait=wait, as_json=as_json)


@app.command()
@at_gateway
def promote(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    reason: ReasonOption,
    *,
    arm: Annotated[
        str, typer.Option("--arm", help="Who wins; of two arms the second.", show_default=False)
    ] = "",
    if_match: IfMatchOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """End it: an arm answers everybody.

    Example: attnserve experiment promote digits-se-vs-eca --arm eca --reason "as good, and cheaper"
    """
    body = {"reason": reason} | ({"arm": arm} if arm else {})
    _tell(client, client.act(name, "promote", body, if_match), wait=wait, as_json=as_json)


_ACTS: Mapping[str, str] = {
    "start": "Begin to assign units.",
    "pause": "Answer everybody from the control, for now.",
    "resume": "Go on after a pause.",
    "rollback": "End it: the control answers everybody, at once.",
    "stop": "End it without a winner: the control answers everybody, at once.",
}


def _act(act: str) -> Callable[..., None]:
    def do(
        client: ExperimentClient,
        name: NameArgument,
        reason: ReasonOption,
        *,
        if_match: IfMatchOption = None,
        wait: WaitOption = False,
        as_json: JsonOption = False,
    ) -> None:
        _tell(client, client.act(name, act, {"reason": reason}, if_match), wait=wait, as_json=as_json)

    do.__doc__ = f'{_ACTS[act]}\n\nExample: attnserve experiment {act} digits-se-vs-eca --reason "..."'
    return at_gateway(do)


for _name in _ACTS:
    app.command(_name)(_act(_name))
for _command in cli_findings.COMMANDS:
    app.command()(_command)


def _tell(client: ExperimentClient, experiment: Json, *, wait: bool, as_json: bool) -> None:
    """Say what came of a change, and wait for it if that is wanted."""
    if as_json:
        print_json(experiment)
    else:
        versions.show_change(console, experiment)
    if wait:
        wait_for(client, experiment)


def _planned(
    client: ExperimentClient, design: Json, given: float | None, metrics: str
) -> tuple[Json, Traffic]:
    """The plan, and where its days come from."""
    seen = Traffic(per_day=given, sentence=f"Days are for {given:,.10g} units a day." if given else "")
    if given is None and metrics:
        seen = _traffic(client, design, metrics)
    found = client.plan(design, seen.per_day)
    if not seen.sentence and found.get("planned_days") is None:
        hint = (
            "To see how many days that takes, give --units-per-day N or --metrics http://HOST:8002/metrics."
        )
        seen = Traffic(per_day=None, sentence=hint)
    return found, seen


def _traffic(client: ExperimentClient, design: Json, metrics: str) -> Traffic:
    arms = design.get("arms")
    models = (
        {str(arm.get("model")) for arm in arms if isinstance(arm, dict)} if isinstance(arms, list) else ()
    )
    try:
        return traffic(client.metrics(metrics), models)
    except (UnreachableError, ValueError) as error:
        return Traffic(per_day=None, sentence=f"No days, the traffic cannot be read: {error}")
