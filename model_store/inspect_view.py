"""An archive's card as a page: what it holds, where that is from, and how good and how fast it is.

What is not known is said to be unknown. What a paper published of the architecture is kept apart from what
was measured of these very weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from model_store import card_view
from model_store.card_view import UNKNOWN, count, mapping, text
from model_store.inspect_archive import Inspection
from model_store.show import plain_table, show_confusion, show_pairs, show_rows, show_table

_LABELS: Final = 10
_OF_ITS_OWN: Final[Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {
        "accuracy": (int, float),
        "accuracy_interval_95": list,
        "confusion": list,
        "evaluation": Mapping,
        "form": str,
        "macs": int,
        "parameters": int,
        "published": list,
        "source": str,
        "speed": Mapping,
        "weights": Mapping,
    }
)
"""What of a card has a place of its own on the page, and of which type; the rest is shown as it is."""


def show_inspection(out: Console, found: Inspection) -> None:
    """Print the page."""
    signature = found.signature
    free = mapping(signature.get("card"))
    card: dict[str, Any] = {
        key: value for key, value in free.items() if isinstance(value, _OF_ITS_OWN.get(key, ()))
    }
    show_pairs(out, _archive(found))
    show_pairs(out, _architecture(signature, card), "architecture")
    show_pairs(out, _weights(signature, card), "weights")
    show_pairs(out, _images(signature), "images and answers")
    show_pairs(out, card_view.quality({**card, "split": free.get("split")}), "measured of these weights")
    show_pairs(out, _work(signature, card), "at work")
    _show_recipes(out, signature)
    _show_published(out, signature["architecture"], card)
    others = {key.replace("_", " "): text(value) for key, value in free.items() if key not in card}
    if others:
        show_pairs(out, others, "also on its card")
    if signature.get("attention_layout"):
        _show_layout(out, signature["attention_layout"])
    if _is_matrix(card.get("confusion"), len(signature["labels"])):
        show_confusion(out, signature["labels"], card["confusion"])


def _archive(found: Inspection) -> dict[str, str]:
    damage = "; ".join(f"{name}: {reason}" for name, reason in found.damaged.items())
    signature = found.signature
    return {
        "model": f"{signature['name']} version {signature['version']}",
        "archive": f"{found.path} ({found.bytes:,} bytes)",
        "sha256": f"{found.sha256} ({found.listed} in SHA256SUMS beside it)",
        "contents_sha256": f"{found.contents_sha256} ({damage or 'every inner file matches'})",
        "source": str(mapping(signature.get("card")).get("source") or UNKNOWN),
    }


def _architecture(signature: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, str]:
    weights = mapping(card.get("weights"))
    layout = signature.get("attention_layout", [])
    columns = sum(entry["channels"] * entry["branches"] for entry in layout)
    return {
        "net": f"{signature['architecture']}, family {signature['family']}",
        "form": str(card.get("form") or weights.get("form") or UNKNOWN),
        "attention": signature["attention"],
        "gates": f"{columns:,} in {len(layout)} blocks" if layout else "none to show",
        "settings": text(weights.get("settings")) if weights.get("settings") else "as the architecture says",
        "parameters": count(card.get("parameters")),
        "multiply-adds": f"{count(card.get('macs'))}{' an image' if 'macs' in card else ''}",
    }


def _weights(signature: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, str]:
    weights = mapping(card.get("weights"))
    named = {
        "source": "source",
        "file": "file",
        "sha256 of the file": "sha256",
        "layout of the file": "layout",
        "licence of the weights": "licence",
    }
    lines = {"trained": "yes" if signature["trained"] else "no: random weights"}
    if signature["trained"]:
        lines |= {name: str(weights.get(key) or UNKNOWN) for name, key in named.items()}
    return lines | {"sha256 of model.pt": signature["weights_sha256"]}


def _images(signature: Mapping[str, Any]) -> dict[str, str]:
    recipe, labels = signature["input"], signature["labels"]
    resize = recipe["resize"]
    resized = card_view.resized(recipe["size"], resize["method"], resize["size"], resize["interpolation"])
    scaled = card_view.scaled(recipe["mean"], recipe["std"])
    more = ", ..." if len(labels) > _LABELS else ""
    return {
        "preprocessing": f"RGB, {resized}, {scaled}",
        "labels": f"{len(labels)}: {', '.join(labels[:_LABELS])}{more}",
    }


def _work(signature: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, str]:
    parity = signature["parity"]
    return {
        "parity": f"{parity['form']}, error {parity['max_abs_error']:.2g} of {parity['tolerance']:g} allowed",
        "proven on": f"{parity['samples']} samples, batches {', '.join(map(str, parity['batch_sizes']))}",
        "batch buckets": ", ".join(map(str, signature["batch_buckets"])),
        "CPU threads": str(signature["threads"] or "all cores"),
        **_spin(signature),
        "computes in": _precision(signature),
        **card_view.speed(card),
    }


def _spin(signature: Mapping[str, Any]) -> dict[str, str]:
    spin = signature.get("spin")
    return {} if spin is None else {"a waiting thread": f"looks {spin:,} times for work before it sleeps"}


def _precision(signature: Mapping[str, Any]) -> str:
    if signature.get("recipes"):
        return "as the first of the recipes below that the machine can run"
    return ", ".join(f"{name} on {device}" for device, name in signature["dtype"].items())


def _show_recipes(out: Console, signature: Mapping[str, Any]) -> None:
    recipes = signature.get("recipes", [])
    if not recipes:
        return
    columns = ("recipe", "runs on", "dtype", "file", "error", "allowed")
    rows = [card_view.recipe(one) for one in recipes]
    show_rows(out, columns, rows, right=("error", "allowed"), spare=("file",))


def _show_published(out: Console, architecture: str, card: Mapping[str, Any]) -> None:
    published = [mapping(figure) for figure in card.get("published", [])]
    if not published:
        return
    head = f"published of {architecture}, not of these weights"
    table = plain_table(out, head, "top-1 %", "top-5 %", right=(1, 2))
    for figure in published:
        numbers = ("-" if figure.get(key) is None else text(figure[key]) for key in ("top1", "top5"))
        table.add_row(escape(str(figure.get("source") or UNKNOWN)), *numbers)
    show_table(out, table)


def _show_layout(out: Console, layout: Sequence[Mapping[str, Any]]) -> None:
    table = plain_table(out, "attention block", "channels", "branches", "columns", right=(1, 2))
    first = 0
    for entry in layout:
        width = entry["channels"] * entry["branches"]
        sizes = (str(entry["channels"]), str(entry["branches"]))
        table.add_row(escape(entry["block"]), *sizes, f"{first}..{first + width - 1}")
        first += width
    show_table(out, table)


def _is_matrix(value: object, classes: int) -> bool:
    """Whether a card's value is a matrix with a row and a column for each class."""
    rows = value if isinstance(value, list) else []
    return len(rows) == classes and all(isinstance(row, list) and len(row) == classes for row in rows)
