"""Labelled images on disk: a folder for each class, or a CSV file."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_store.errors import InputError

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
COLUMNS: Final = ("path", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """A file and the number of its class."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled images.

    Attributes:
        images: At least one, in the order of the folders' and files' names or of the CSV's lines.
        absent: Labels that no image has.
        ignored: What lies in the folder and is not read: files that are in no class folder or do not end as
            images do, links to folders or to nothing. Hidden files are not even listed.
    """

    images: tuple[LabelledImage, ...]
    absent: tuple[str, ...]
    ignored: tuple[Path, ...]


def read_dataset(source: Path, labels: Sequence[str]) -> Dataset:
    """Find the labelled images of a folder or a CSV file; none is opened yet.

    A folder holds one folder for each class, named as its label, with images in it at any depth; what is
    hidden, as editors and file managers hide theirs by a dot, is left out. A CSV file has a header with the
    columns `path`, relative to the file, and `label`.

    Args:
        source: The folder or the file.
        labels: The classes, in the order of the logits.

    Raises:
        InputError: There is no such folder or file, no image, or an unknown label; the message names it and
            the nearest known one.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    if source.is_dir():
        found, ignored = _of_folders(source, numbers)
    else:
        found, ignored = list(_of_csv(source, numbers)), []
    if not found:
        rule = (
            f"names must end with {', '.join(SUFFIXES)}" if source.is_dir() else "one a line, after the first"
        )
        raise InputError(f"data: {str(source)!r} holds no image; {rule}")
    present = {image.label for image in found}
    return Dataset(
        images=tuple(found),
        absent=tuple(label for label, number in numbers.items() if number not in present),
        ignored=tuple(ignored),
    )


def _of_folders(source: Path, numbers: Mapping[str, int]) -> tuple[list[LabelledImage], list[Path]]:
    entries = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    if not folders:
        raise InputError(f"data: {str(source)!r} must hold a folder for each class, but holds no folder")
    images, ignored = [], [path for path in entries if not path.is_dir()]
    for folder in folders:
        number = _number(folder.name, numbers, f"data: the folder {str(folder)!r}")
        for path in sorted(folder.rglob("*")):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            if path.is_file() and path.suffix.lower() in SUFFIXES:
                images.append(LabelledImage(path=path, label=number))
            elif path.is_symlink() or not path.is_dir():
                ignored.append(path)
    return images, ignored


def _of_csv(source: Path, numbers: Mapping[str, int]) -> Iterator[LabelledImage]:
    lines: dict[Path, int] = {}
    for line, row in _rows(source):
        where = f"data: {str(source)!r}, line {line}"
        path = source.parent / row["path"]
        if not path.is_file():
            raise InputError(f"{where}: {row['path']!r} is no file beside the CSV")
        if path in lines:
            raise InputError(f"{where}: {row['path']!r} stands already on line {lines[path]}")
        lines[path] = line
        yield LabelledImage(path=path, label=_number(row["label"], numbers, where))


def _rows(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line's number and its cells by column."""
    try:
        # Spreadsheets begin UTF-8 with a mark that would become part of the first column's name.
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                first = ",".join(reader.fieldnames or ())
                raise InputError(
                    f"data: {str(source)!r} lacks the column {missing[0]!r} in its first line, got {first!r}"
                )
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise InputError(f"data: cannot read {str(source)!r}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"data: {str(source)!r} must be a folder, or a CSV file in UTF-8: {error}"
        ) from error


def _number(label: str, numbers: Mapping[str, int], where: str) -> int:
    if label in numbers:
        return numbers[label]
    nearest = difflib.get_close_matches(label, numbers, n=1, cutoff=0.3)
    like = f"the nearest is {nearest[0]!r}" if nearest else f"such as {', '.join(map(repr, [*numbers][:3]))}"
    raise InputError(f"{where}: {label!r} is none of the archive's {len(numbers)} labels; {like}")
