"""`attnserve alias ...`: stable names that point to a model, or to an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from serve.cli_gateway import IfMatchOption, ReasonOption, at_gateway
from serve.cli_parts import JsonOption, console, print_json
from serve.client import ClientError
from serve.experiment_client import ExperimentClient
from serve.terminal.saying import table

app = typer.Typer(
    name="alias",
    no_args_is_help=True,
    help="Stable names: clients call one, and it points to a model, or to an experiment.",
)
AliasArgument = Annotated[str, typer.Argument(help="The alias.", metavar="NAME")]


@app.command("list")
@at_gateway
def list_aliases(client: ExperimentClient, *, as_json: JsonOption = False) -> None:
    """List all aliases, and where they point.

    Example: attnserve alias list
    """
    _show(client.aliases(), as_json=as_json)


@app.command()
@at_gateway
def show(client: ExperimentClient, name: AliasArgument, *, as_json: JsonOption = False) -> None:
    """Show where an alias points, since when, by whom and why.

    Example: attnserve alias show production
    """
    found = [alias for alias in client.aliases() if alias["name"] == name]
    if not found:
        raise ClientError(f"alias {name!r} is not found")
    if as_json:
        print_json(found[0])
    else:
        _show(found, as_json=False)


@app.command("set")
@at_gateway
def put(
    client: ExperimentClient,
    name: AliasArgument,
    target: Annotated[str, typer.Argument(help="MODEL, MODEL:VERSION, or an experiment.", metavar="TARGET")],
    reason: ReasonOption,
    *,
    if_match: IfMatchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an alias, or point it elsewhere.

    Example: attnserve alias set production digits_se:1 --reason "the best so far"
    """
    alias = client.put_alias(name, target, reason, if_match)
    if as_json:
        print_json(alias)
    else:
        _show([alias], as_json=False)


def _show(aliases: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(aliases)
        return
    columns = ("name", "target", "version", "effective_at", "author", "reason")
    table(console, columns, [tuple(str(alias[column]) for column in columns) for alias in aliases])
