"""Reading what people write by hand or export: a document as YAML or JSON, rows as CSV or JSON.

What is wrong with a file is said in one line that names the file, the place in it and the rule.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# The name that stands for standard input.
STDIN = Path("-")
_INT32 = range(2**31)
_MOST_SHOWN = 80


class InputError(ValueError):
    """What somebody typed, or a file, cannot be used as it is; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A true label, as a file tells it.

    Attributes:
        place: Where it stands: "row 3" of a CSV file, whose header is row 1; "line 3" or "entry 3" of JSON.
        key: What names the request: a feedback token, or a prediction.
        item: Which image of the request, from 0.
        label: "" where it is not known yet.
    """

    place: str
    key: str
    item: int
    label: str


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that holds one object; `-` is standard input.

    Raises:
        InputError: It cannot be read, or it is none; a syntax error is named by its line.
    """
    found = parse_yaml(_text(path), str(path))
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{path}: is {_shown(found)}, must be an object: keys with values")
    return found


def check_text(name: str, text: str) -> None:
    """See that a text can be sent.

    Raises:
        InputError: It has no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: is {_shown(text)}, which has no UTF-8") from None


def parse_yaml(text: str, where: str) -> object:
    """Read YAML, of which JSON is a part, as far as JSON can hold it.

    Raises:
        InputError: It is neither; the line is named.
    """
    try:
        found: object = yaml.safe_load(text)
        # As it will be sent; YAML also knows dates and sets, not finite numbers, and objects in themselves.
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "line 1"
        raise InputError(f"{where}: {place}: is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise InputError(f"{where}: is not YAML: it holds characters that YAML does not allow") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: holds what JSON does not: {error}; put texts into quotes") from None
    return found


def read_rows(path: Path, key: str, wrapper: str) -> list[Row]:
    """Read true labels: CSV with a header, a JSON list, or JSON lines; `-` is standard input.

    Args:
        path: Its other columns do not matter; without a column `item` it speaks of first images.
        key: The column that names the request.
        wrapper: A JSON file may also be an object with a list under this key, as REST takes it.

    Raises:
        InputError: It cannot be read, or a row breaks a rule; the row is named.
    """
    text = _text(path)
    rows = _json_rows(text, wrapper) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text, key)
    try:
        return [_row(place, fields, key) for place, fields in rows]
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 at byte {error.start}") from None


def _csv_rows(text: str, key: str) -> Iterator[tuple[str, object]]:
    from serve.edge.experiments_csv import bare  # noqa: PLC0415  the gateway's own modules take a moment

    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        header = [name.strip() for name in next(lines, [])]
        for name in (key, "label"):
            if header.count(name) != 1:
                shown = ",".join(header)[:_MOST_SHOWN]
                raise ValueError(f"row 1: the header {shown!r} must have one column {name!r}")
        for number, cells in enumerate(lines, start=2):
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(f"row {number}: has {len(cells)} cells, the header {len(header)}")
            fields = dict(zip(header, cells, strict=True))
            yield f"row {number}", fields | {"label": bare(fields["label"])}
    except csv.Error as error:
        raise ValueError(f"after row {number}: is not CSV: {error}") from None


def _json_rows(text: str, wrapper: str) -> Iterator[tuple[str, object]]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise ValueError(f"line {error.lineno}, column {error.colno}: is not JSON: {error.msg}") from None
        yield from _json_lines(text)
        return
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if isinstance(whole, dict) and wrapper in whole:
        whole = whole[wrapper]
    entries = whole if isinstance(whole, list) else [whole]
    yield from ((f"entry {number}", entry) for number, entry in enumerate(entries, start=1))


def _json_lines(text: str) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}, column {error.colno}: is not JSON: {error.msg}") from None


def _row(place: str, fields: object, key: str) -> Row:
    if not isinstance(fields, Mapping):
        raise ValueError(f"{place}: is {_shown(fields)}, must be an object")  # noqa: TRY004  a file's fault
    name, label = (_field(place, fields, column) for column in (key, "label"))
    if not name:
        raise ValueError(f"{place}: {key} is empty")
    return Row(place=place, key=name, item=_item(place, fields.get("item", "")), label=label)


def _field(place: str, fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, str):
        check_text(f"{place}: {name}", value)
        return value
    raise ValueError(f"{place}: {name} is {'missing' if value is None else _shown(value)}, must be a text")


def _item(place: str, value: object) -> int:
    number = value
    if isinstance(value, str):
        digits = value.strip() or "0"
        number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 11 else -1  # noqa: PLR2004  digits of 2**31
    if not isinstance(number, int) or isinstance(number, bool) or number not in _INT32:
        raise ValueError(f"{place}: item is {_shown(value)}, must be a whole number from 0")
    return number


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
