"""Images on which arms disagree: as a table, and their bytes as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from serve.terminal.files import InputError
from serve.terminal.saving import save
from serve.terminal.saying import table

Json = Mapping[str, Any]
# The formats that models take, by how their files begin.
_ENDINGS: Mapping[bytes, str] = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"BM": ".bmp",
}


def show_disagreements(console: Console, rows: Sequence[Json]) -> None:
    """Print a line an image: what each arm said, and the true label where it is known."""
    arms = list(rows[0]["answers"]) if rows else []
    cells = [
        (
            row["prediction"],
            str(row["item"]),
            row["label"] or "",
            *(_said(row["answers"][arm]) for arm in arms),
            "yes" if row["image_kept"] else "no",
        )
        for row in rows
    ]
    table(console, ("prediction", "item", "label", *arms, "image kept"), cells)


def save_images(
    folder: Path, rows: Sequence[Json], fetch: Callable[[str, int], bytes], stderr: Console
) -> int:
    """Write the images that are kept to a folder, as PREDICTION-ITEM.png or the like.

    Args:
        folder: Made if it is not there.
        rows: The disagreements.
        fetch: Gives the bytes of an image.
        stderr: Shows the progress, when it is a terminal.

    Returns:
        How many there were.

    Raises:
        InputError: A file cannot be written.
    """
    kept = [row for row in rows if row["image_kept"]]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from None
    for row in track(kept, "fetching", console=stderr, transient=True, disable=not stderr.is_terminal):
        image = fetch(row["prediction"], row["item"])
        ending = next((one for start, one in _ENDINGS.items() if image.startswith(start)), "")
        save(folder / f"{row['prediction']}-{row['item']}{ending}", [image])
    return len(kept)


def _said(answer: Json) -> str:
    if answer["label"] is None:
        return ""
    sure = answer["confidence"]
    return answer["label"] if sure is None else f"{answer['label']} ({sure:.2f})"
