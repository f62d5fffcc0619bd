"""`attnserve classify`: many images through several models, with progress, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from serve.client import Client, Crowd, Pace, ready_models

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})


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
    """Every image file named, or below a folder named, in order.

    Raises:
        FileNotFoundError: A path does not exist, or nothing was found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    if not found:
        raise FileNotFoundError(
            f"{', '.join(map(str, paths))}: no image found ({', '.join(sorted(SUFFIXES))})"
        )
    return found


async def classify(
    client: Client, files: Sequence[Path], models: Sequence[str], stderr: Console
) -> list[Row]:
    """Ask every model (all that are ready, when none is named) about every file.

    Raises:
        ClientError: The gateway cannot be reached.
    """
    rows: list[Row] = []
    async with Crowd(client, Pace()) as crowd:
        models = models or await ready_models(client)
        images = [file.read_bytes() for file in files]
        with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
            task = progress.add_task("classifying", total=len(files) * len(models))
            for model in models:
                done = 0
                async for reply in crowd.classify(model, images):
                    for verdict in reply.verdicts:
                        rows.append(
                            Row(file=str(files[done]), model=model, version=reply.version, **asdict(verdict))
                        )
                        done += 1
                    progress.update(task, advance=len(reply.verdicts))
    return rows


async def index(client: Client) -> list[dict[str, str]]:
    """Every version that the gateway knows, with its state.

    Raises:
        ClientError: The gateway cannot be reached.
    """
    try:
        return await client.index()
    finally:
        await client.close()


def show(rows: Sequence[Row], console: Console, *, as_json: bool) -> None:
    """Print a table, or JSON for machines."""
    if as_json:
        console.print_json(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("file", "model", "label", "probability")
    for row in rows:
        table.add_row(
            row.file, row.model, row.error or row.label, "" if row.error else f"{row.probability:.4f}"
        )
    console.print(table)
