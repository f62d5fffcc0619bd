"""The foundry's answers as text: tables on a terminal, plain columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.inspect_archive import Inspection

if TYPE_CHECKING:
    from model_store.listing import Listed  # at run time only the zoo is to need torch, which this imports

_PLAIN_WIDTH: Final = 240  # a file or pipe has no width of its own, and cut cells help nobody

_SHOWN_ELSEWHERE: Final = frozenset({"confusion", "accuracy_interval_95"})


def console() -> Console:
    """Standard output, wide enough for whole lines when it is no terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def show_zoo(out: Console, rows: Sequence[Listed]) -> None:
    """One line per net."""
    table = _table(
        out, "name", "family", "attention", "parameters", "macs", "input", "classes", "top-1 %", "source"
    )
    for row in rows:
        top1 = "-" if row.published_top1 is None else f"{row.published_top1:.2f}"
        height, width = row.input_size
        numbers = (f"{row.parameters:,}", f"{row.macs:,}", f"{height}x{width}", str(row.classes), top1)
        table.add_row(row.name, row.family, row.attention, *numbers, row.source)
    _print(out, table)


def show_inspection(out: Console, found: Inspection) -> None:
    """The card: hashes first, then what the model is, how good it is, and what its attention looks like."""
    table = _table(out, "", "", header=False)
    for name, value in (_hash_lines(found) | _model_lines(found.signature)).items():
        table.add_row(name, escape(value))
    _print(out, table)
    layout = found.signature.get("attention_layout", [])
    if layout:
        _show_layout(out, layout)
    if "confusion" in found.signature.get("card", {}):
        _show_confusion(out, found.signature["labels"], found.signature["card"]["confusion"])


def _hash_lines(found: Inspection) -> dict[str, str]:
    damage = "; ".join(f"{name}: {reason}" for name, reason in found.damaged.items())
    return {
        "archive": f"{found.path} ({found.bytes:,} bytes)",
        "sha256": f"{found.sha256} ({found.listed} in SHA256SUMS beside it)",
        "contents_sha256": f"{found.contents_sha256} ({damage or 'every inner file matches'})",
    }


def _model_lines(signature: Mapping[str, Any]) -> dict[str, str]:
    card, recipe, parity = signature.get("card", {}), signature["input"], signature["parity"]
    height, width = recipe["size"]
    labels = signature["labels"]
    lines = {
        "model": f"{signature['name']} version {signature['version']}",
        "architecture": f"{signature['architecture']}, family {signature['family']}",
        "attention": signature["attention"],
        "trained": "yes" if signature["trained"] else "no: random weights",
        "input": f"RGB {height}x{width}, {recipe['resize']['method']}, {recipe['resize']['interpolation']}",
        "labels": f"{len(labels)}: {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}",  # noqa: PLR2004
        "parity": f"{parity['form']}, error {parity['max_abs_error']:.2g} of {parity['tolerance']:g} allowed",
        "proven on": f"{parity['samples']} samples, batches {', '.join(map(str, parity['batch_sizes']))}",
        "batch buckets": ", ".join(map(str, signature["batch_buckets"])),
        "CPU threads": str(signature["threads"] or "all cores"),
    }
    return lines | _card_lines(card)


def _card_lines(card: Mapping[str, Any]) -> dict[str, str]:
    # The card is free: what has no form of its own is shown as it is.
    shown = {name: _text(value) for name, value in card.items() if name not in _SHOWN_ELSEWHERE}
    shown |= {name: f"{card[name]:,}" for name in ("parameters", "macs") if isinstance(card.get(name), int)}
    if "accuracy" in card:
        interval = card.get("accuracy_interval_95")
        bounds = f" (95 % interval {interval[0]:.2%} to {interval[1]:.2%})" if interval else ""
        shown["accuracy"] = f"{card['accuracy']:.2%}{bounds}"
    return {name.replace("_", " "): value for name, value in shown.items()}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show_layout(out: Console, layout: Sequence[Mapping[str, Any]]) -> None:
    table = _table(out, "attention block", "channels", "branches", "columns")
    first = 0
    for entry in layout:
        count = entry["channels"] * entry["branches"]
        table.add_row(
            escape(entry["block"]),
            str(entry["channels"]),
            str(entry["branches"]),
            f"{first}..{first + count - 1}",
        )
        first += count
    _print(out, table)


def _show_confusion(out: Console, labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    table = _table(out, "true \\ given", *(escape(label) for label in labels))
    for label, row in zip(labels, confusion, strict=True):
        table.add_row(escape(label), *(str(count) if count else "." for count in row))
    _print(out, table)


def _table(out: Console, *columns: str, header: bool = True) -> Table:
    table = Table(box=box.SIMPLE if out.is_terminal else None, show_header=header, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(out: Console, table: Table) -> None:
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    # rich fills every line with blanks up to the console's width.
    out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()) + "\n")
