"""The command line of the load tests."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from loadtests.console import wide
from loadtests.running.scenarios import SCENARIOS
from loadtests.running.wish import Wish

console = wide()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main(**options: Any) -> None:  # noqa: ANN401  each has a type of its own, which `Wish` declares
    """Put load on a gateway, check every reply, compare counts with the gateway's, and write a report.

    Nobody else may call the gateway meanwhile: the counts would differ.

    Exit code 1: something was wrong, or worse than --against; 2: the options do not fit together.

    A short check, with a gateway of its own if none answers: python -m loadtests

    Where it breaks: python -m loadtests steps --rate 200 --against old/report.json

    How many replicas: python -m loadtests capacity --models digits_se --target-rate 500 --slo-ms 100

    What it was once asked: python -m loadtests replay --trace arrivals.csv --workers 4
    """
    # Imported here so that --help and --list are quick.
    from loadtests.running.run import EXIT_CODES, run  # noqa: PLC0415

    del options[_LIST.name]  # it is answered by now
    try:
        complaints = run(Wish(**options), console)
    except tuple(EXIT_CODES) as error:
        typer.echo(str(error), err=True)
        code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
        raise typer.Exit(code) from None
    for complaint in complaints:
        typer.echo(f"FAILED: {complaint}", err=True)
    raise typer.Exit(1 if complaints else 0)


def _show_list(*, wanted: bool) -> None:
    if not wanted:
        return
    table = Table("scenario", "loop", "what it does", "takes")
    for scenario in SCENARIOS.values():
        takes = " ".join(f"--{name.replace('_', '-')}" for name in scenario.takes)
        table.add_row(scenario.name, scenario.loop, scenario.summary, takes)
    console.print(table)
    raise typer.Exit


_LIST: Final = inspect.Parameter(
    "_list",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option("--list", help="Show the scenarios.", is_eager=True, callback=_show_list),
    ],
)


def _options() -> inspect.Signature:
    """The fields of `Wish` as parameters, so that no option is declared twice."""
    signature = inspect.signature(Wish, eval_str=True)
    return signature.replace(parameters=[*signature.parameters.values(), _LIST], return_annotation=None)


main.__signature__ = _options()  # type: ignore[attr-defined] # `inspect` and typer look here first
app.command()(main)
