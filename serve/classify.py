"""`attnserve classify` and `models`: many images through several models, with progress; tables and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from serve.client import Client, ClientError, Reply, Verdict

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
CALLS_AT_ONCE = 8
# A call keeps well below the gateway's limit of 64 MiB, unless a single image does not.
IMAGES_A_CALL = 8
BYTES_A_CALL = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one model says of one file."""

    file: str
    model: str
    version: str
    label: str
    probability: float
    error: str


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Every file named, and every image file below a folder named, in order.

    Raises:
        FileNotFoundError: A path does not exist, or nothing was found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
            )
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    if not found:
        raise FileNotFoundError(f"{', '.join(map(str, paths))}: no image found ({', '.join(SUFFIXES)})")
    return found


def ready_models(index: Sequence[dict[str, str]]) -> list[str]:
    """Names of the models of which a version can answer, each once, as the index orders them.

    Experiments and aliases, which have no version, are left out: who asks an experiment takes part in it.

    Raises:
        ClientError: There is none.
    """
    names = list(
        dict.fromkeys(entry["name"] for entry in index if entry["state"] == "READY" and entry["version"])
    )
    if not names:
        raise ClientError("no model is ready: `attnserve models` says why")
    return names


async def classify(
    client: Client, files: Sequence[Path], models: Sequence[str], stderr: Console
) -> list[Row]:
    """Ask models about files, some calls at a time.

    Args:
        client: Connected to the gateway.
        files: The images.
        models: Names; empty means all that are ready.
        stderr: Shows the progress, when it is a terminal.

    Returns:
        A row for each model and file, in that order; what failed has its reason in `error`.

    Raises:
        ClientError: The gateway cannot be reached, or does not say what there is.
    """
    index = await client.index()
    asked = models or ready_models(index)
    calls = list(_calls(files))
    room = asyncio.Semaphore(CALLS_AT_ONCE)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("classifying", total=len(files) * len(asked))

        async def one(model: str, call: Sequence[Path]) -> list[Row]:
            async with room:
                rows = await _ask(client, model, call)
            progress.update(task, advance=len(call))
            return rows

        answers = await asyncio.gather(*(one(model, call) for model in asked for call in calls))
    return [row for rows in answers for row in rows]


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print what came back as a table."""
    columns = ("file", "model", "label", "probability")
    cells = [
        (row.file, row.model, row.error or row.label, "" if row.error else f"{row.probability:.4f}")
        for row in rows
    ]
    print_table(console, columns, cells)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A drawn table on a terminal; elsewhere lines with tabs between the cells, which programs can cut."""
    if not console.is_terminal:
        # Past the console, which would make spaces of the tabs.
        console.file.writelines("\t".join(row) + "\n" for row in (columns, *rows))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))  # as they are: a file may be called [red].png
    console.print(table)


def _calls(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Cut the files into calls that are neither long nor large."""
    call: list[Path] = []
    size = 0
    for file in files:
        length = file.stat().st_size
        if call and (len(call) == IMAGES_A_CALL or size + length > BYTES_A_CALL):
            yield call
            call, size = [], 0
        call.append(file)
        size += length
    if call:
        yield call


async def _ask(client: Client, model: str, files: Sequence[Path]) -> list[Row]:
    """One call; a file that cannot be read fails alone, a call that fails does so for all its images."""
    contents = await asyncio.to_thread(lambda: [_read(file) for file in files])
    images = [content for content in contents if isinstance(content, bytes)]
    reply = await _reply(client, model, images)
    answered = iter(reply.verdicts)
    verdicts = [next(answered) if isinstance(content, bytes) else content for content in contents]
    return [
        Row(file=str(file), model=model, version=reply.version, **asdict(verdict))
        for file, verdict in zip(files, verdicts, strict=True)
    ]


async def _reply(client: Client, model: str, images: Sequence[bytes]) -> Reply:
    try:
        return await client.classify(model, images)
    except ClientError as error:
        return Reply(version="", verdicts=(Verdict(error=str(error)),) * len(images), seconds=0.0)


def _read(file: Path) -> bytes | Verdict:
    try:
        return file.read_bytes()
    except OSError as error:
        return Verdict(error=f"cannot be read: {error.strerror}")
