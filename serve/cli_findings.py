"""`attnserve experiment ...`: what experiments found out, and what they are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

from serve.cli_gateway import NameArgument, at_gateway, writable
from serve.cli_parts import FAILED, JsonOption, console, print_json, stderr
from serve.client import ClientError
from serve.experiment_client import ExperimentClient
from serve.terminal.disagreements import save_images, show_disagreements
from serve.terminal.files import InputError, read_rows
from serve.terminal.report import show_report
from serve.terminal.saving import save
from serve.terminal.saying import say
from serve.terminal.telling import Send, show_told, tell
from serve.terminal.versions import show_assignment

# Of disagreements in one answer of the gateway.
MOST_ROWS = 10_000

RowsArgument = Annotated[Path, typer.Argument(help="CSV, JSON or JSON lines; - is standard input.")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help="Write all of them to this file.", callback=writable)
]


@at_gateway
def report(
    client: ExperimentClient,
    name: NameArgument,
    *,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write it as one static page to this file.", callback=writable),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.", min=0.5)] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Tell the verdict, whether it can be trusted, and the figures. One may look as often as one likes.

    Example: attnserve experiment report digits-se-vs-eca --html report.html
    """
    if watch and (as_json or html):
        raise InputError("--watch shows the report on the terminal; it goes with neither --json nor --html")
    with stderr.status("evaluating"):
        found = client.report(name)
    if html:
        with stderr.status("drawing the report"):
            size = save(html, [client.report_html(name)])
        say(stderr, f"{html}: {size:,} bytes")
    if as_json:
        print_json(found)
    elif not html:
        show_report(console, found)
    if watch:
        _watch(client, name, every)


def _watch(client: ExperimentClient, name: str, every_s: float) -> None:
    """Look again and again; a gateway that is away for a while is waited for."""
    while True:
        try:
            time.sleep(every_s)
            found = client.report(name)
        except KeyboardInterrupt:
            return
        except ClientError as error:
            say(stderr, str(error))
            continue
        console.clear()
        show_report(console, found)


@at_gateway
def assign(
    client: ExperimentClient,
    words: Annotated[
        list[str] | None, typer.Argument(help="The experiment, and the unit.", metavar="[NAME] [UNIT]")
    ] = None,
    *,
    unit: Annotated[str | None, typer.Option("--unit", help="The unit, if it is not the last word.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why, question by question.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A design, instead of NAME: asks no gateway.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which arm a unit gets, and why; it is not counted as having got it.

    Examples: attnserve experiment assign digits-se-vs-eca camera-7 --explain

    attnserve experiment assign --file design.yaml camera-7 --explain
    """
    given = [*(words or ()), *([] if unit is None else [unit])]
    wanted = ["UNIT"] if file else ["NAME", "UNIT"]
    if len(given) != len(wanted):
        raise InputError(f"assign needs {' and '.join(wanted)}, got {given}")
    if file:
        from serve.terminal.offline import assignment  # noqa: PLC0415  the others need not wait for its imports

        found = assignment(file, given[-1])
    else:
        found = client.assign(*given)
    if as_json:
        print_json(found)
    else:
        show_assignment(console, found, explain=explain)


@at_gateway
def outcomes(
    client: ExperimentClient, name: NameArgument, file: RowsArgument, *, as_json: JsonOption = False
) -> None:
    """Tell true labels by the feedback tokens of replies: columns feedback_token, label and maybe item.

    A file may be sent twice. Exit code 1 if a row was refused.

    Example: attnserve experiment outcomes digits-se-vs-eca outcomes.csv
    """
    _tell(file, "feedback_token", "outcomes", lambda rows: client.outcomes(name, rows), as_json=as_json)


@at_gateway
def label(
    client: ExperimentClient, name: NameArgument, file: RowsArgument, *, as_json: JsonOption = False
) -> None:
    """Tell true labels by predictions: the table of the disagreements with its column label filled in.

    A file may be sent twice; rows without a label are left out. Exit code 1 if a row was refused.

    Example: attnserve experiment label digits-se-vs-eca labelled.csv
    """
    _tell(file, "prediction", "labels", lambda rows: client.labels(name, rows), as_json=as_json)


def _tell(file: Path, key: str, wrapper: str, send: Send, *, as_json: bool) -> None:
    told = tell(read_rows(file, key, wrapper), key, send, stderr)
    if as_json:
        print_json(told.to_json())
    else:
        show_told(console, told)
    raise typer.Exit(FAILED if told.refused else 0)


@at_gateway
def disagreements(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    *,
    csv: CsvOption = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Only those without a label.")] = False,
    images: Annotated[
        Path | None, typer.Option("--images", help="Write the kept images to this folder.", metavar="DIR")
    ] = None,
    most: Annotated[int, typer.Option("--limit", help="Most to list.", min=1, max=MOST_ROWS)] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the images on which the arms disagree: only their labels can change the comparison.

    Example: attnserve experiment disagreements digits-se-vs-eca --unlabelled --csv label-me.csv
    """
    if csv:
        params = {"unlabelled": str(unlabelled).lower()}
        _download(client.table(name, "disagreements.csv", params), csv)
    if images:
        every = client.disagreements(name, unlabelled=unlabelled, most=MOST_ROWS)
        count = save_images(images, every, lambda *of: client.image(name, *of), stderr)
        say(stderr, f"{images}: {count} of {len(every)} images are kept")
    if csv or images:
        return
    rows = client.disagreements(name, unlabelled=unlabelled, most=most)
    if as_json:
        print_json(rows)
    else:
        show_disagreements(console, rows)
    if len(rows) == most:
        say(stderr, f"These are the first {most}; --limit shows more, --csv FILE writes all.")


@at_gateway
def pairs(
    client: ExperimentClient,
    name: NameArgument,
    *,
    csv: CsvOption = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write all of them to this file.", callback=writable)
    ] = None,
) -> None:
    """Write every image that the arms answered, raw, to a file, for an analysis of your own.

    Example: attnserve experiment pairs digits-se-vs-eca --csv pairs.csv
    """
    wanted = [(file, kind) for file, kind in ((csv, "csv"), (parquet, "parquet")) if file]
    if not wanted:
        raise InputError("pairs needs a file: --csv FILE or --parquet FILE")
    for file, kind in wanted:
        _download(client.table(name, f"pairs.{kind}"), file)


def _download(chunks: Iterator[bytes], file: Path) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                progress.update(task, advance=len(chunk))
                yield chunk

        size = save(file, counted())
    say(stderr, f"{file}: {size:,} bytes")


COMMANDS = {command.__name__: command for command in (report, assign, outcomes, label, disagreements, pairs)}
