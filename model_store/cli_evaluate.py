"""`attnserve evaluate`: how good an archive is on your labelled images.

torch is imported inside the functions: `attnserve --help` must not wait seconds for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model_store.cli_parts import FAILED, JsonOption, told_briefly
from model_store.files import require_file

MaybePath: TypeAlias = Path | None


def evaluate(  # noqa: PLR0913, PLR0917  typer makes an option of each parameter
    archive: Annotated[Path, typer.Argument(help="A .mar file.", metavar="ARCHIVE")],
    data: Annotated[Path, typer.Argument(help="DATA/LABEL/IMAGE, or a CSV: path,label.", metavar="DATA")],
    batch: Annotated[int, typer.Option(help="Images in a forward pass.", metavar="N", min=1)] = 8,
    gpu: Annotated[int | None, typer.Option(help="Number of a GPU; else the CPU.", metavar="N")] = None,
    data_name: Annotated[
        str | None, typer.Option(help="What to call the data; else its file name.", metavar="TEXT")
    ] = None,
    errors: Annotated[MaybePath, typer.Option(help="List wrong answers as CSV.", metavar="FILE")] = None,
    save: Annotated[bool, typer.Option("--save", help="Put the result onto the archive's card.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if any image had no answer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure accuracy, calibration and speed of an archive, through the very code that serves it.

    That code comes with the archive and is run: evaluate only what you would serve.

    Examples: attnserve evaluate model_store/archives/digits_se.mar photos/

    attnserve evaluate net.mar labels.csv --errors wrong.csv --save
    """
    with told_briefly():
        if errors is not None:
            require_file("errors", errors)
        from model_store import evaluate as measuring
        from model_store.dataset import read_dataset
        from model_store.evaluation import write_mistakes
        from model_store.evaluation_view import show_evaluation
        from model_store.pack import write_card
        from model_store.served import ServedArchive
        from model_store.show import console

        with _loading(archive):
            served = ServedArchive(archive, gpu=gpu)
        with served:
            dataset = read_dataset(data, served.labels)
            name = data_name or data.resolve().name
            with _progress(served.signature["name"], len(dataset.images)) as on_batch:
                found = measuring.evaluate(served, dataset, data=name, batch=batch, on_batch=on_batch)
        if as_json:
            typer.echo(json.dumps(found.as_dict(), indent=2))
        else:
            show_evaluation(console(), found)
        if errors is not None:
            write_mistakes(errors, found.mistakes)
        if save:
            write_card(archive, found.as_card(), sha256_before=served.inspection.sha256)
        if strict and found.failures:
            typer.echo(f"error: {len(found.failures)} images had no answer (--strict)", err=True)
            raise typer.Exit(FAILED)


def _loading(archive: Path) -> AbstractContextManager[object]:
    """A spinner on a terminal, nothing elsewhere."""
    console = Console(stderr=True, highlight=False)
    text = escape(f"{archive}: verifying, loading, warming up")
    return console.status(text) if console.is_terminal else nullcontext()


@contextmanager
def _progress(name: str, images: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(escape(name), total=images)
        yield lambda count: progress.advance(task, count)
