"""`python -m loadtests.soak`: requests of all kinds while engines break, and an exact account at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from loadtests.console import wide
from loadtests.soak.report import Report, show
from loadtests.soak.runs import RUNS, Wish
from loadtests.stack import StackError, end_in_order

console = wide()


def main(  # noqa: PLR0913  the command line's own options
    *,
    requests: Annotated[int, typer.Option(help="How many to send.", min=100)] = 20_000,
    engine: Annotated[
        Literal["fake", "torchserve"],
        typer.Option(help="fake: engines within the gateway's process; torchserve: two real ones."),
    ] = "fake",
    seed: Annotated[int, typer.Option(help="The same one gives the same requests and faults.", min=0)] = 1,
    workers: Annotated[int, typer.Option(help="Requests in flight.", min=1)] = 16,
    faults: Annotated[bool, typer.Option(help="Whether engines break meanwhile.")] = True,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only this kind of fault; repeat for several.", metavar="KIND")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
) -> None:
    """Send many requests to a gateway of its own, break its engines by a schedule, and account for each one.

    Exit code 1: a request was lost, or a figure broke its limit.

    Example: python -m loadtests.soak --requests 5000 --fault hang --fault remove --seed 7
    """
    verdicts: list[bool] = []

    def tell(report: Report) -> None:
        show(report, console)
        verdicts.append(report.good)
        if file is not None:
            file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")

    wanted = tuple(fault) if fault else None
    wish = Wish(requests=requests, seed=seed, workers=workers, faults=wanted if faults else ())
    try:
        RUNS[engine](wish, console, tell)
    except (StackError, ValueError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
