"""The zoo for people: the table, one row of it in full, and the table for a README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

import torch
from rich.console import Console
from rich.markup import escape

from model_store import card_view, zoo
from model_store.listing import Listed, listed
from model_store.show import plain_table, show_pairs, show_rows, show_table
from model_store.stages import Cost, Kind, Outline, Stage, outline

_GIGA: Final = 1e9
_FEW: Final = 4
_MARKDOWN_HEAD: Final = (
    "| name | attention | parameters | GMACs | published top-1, % | source |",
    "|---|---|---:|---:|---:|---|",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """All that is known of one net.

    Attributes:
        row: As in the list.
        outline: Its stages and blocks.
    """

    row: Listed
    outline: Outline

    @property
    def attention(self) -> Cost:
        """What its attention holds and computes."""
        stages = self.outline.stages
        return Cost(
            parameters=sum(stage.attention.parameters for stage in stages),
            macs=sum(stage.attention.macs for stage in stages),
        )

    def as_dict(self) -> dict[str, Any]:
        """The row's plain values, and after them what its net is made of."""
        return {
            **self.row.as_dict(),
            "attention_cost": asdict(self.attention),
            **asdict(self.outline),
        }


def portrait(name: str) -> Portrait:
    """Look closely at one net of the zoo.

    Raises:
        UnknownArchitectureError: There is no such net; the text has the nearest names.
    """
    row = zoo.get(name)
    with torch.device("meta"):
        net = row.build(row.classes)
    return Portrait(row=listed(row), outline=outline(net, row.recipe.input_size))


def short_source(row: Listed) -> str:
    """Return who a net is from, without where that was said."""
    return re.split(r"[,:;]", row.source, maxsplit=1)[0]


def markdown(rows: Sequence[Listed]) -> str:
    """Return the table of a README."""
    lines = (
        f"| {row.name} | {row.attention} | {row.parameters:,} | {_gmacs(row.macs)} | "
        f"{_percent(row.published_top1)} | {short_source(row)} |"
        for row in rows
    )
    return "\n".join(chain(_MARKDOWN_HEAD, lines))


def show_zoo(out: Console, rows: Sequence[Listed]) -> None:
    """One line per net."""
    columns = ("name", "family", "attention", "parameters", "GMACs", "input", "classes", "top-1/top-5 %")
    cells = [
        (
            row.name,
            row.family,
            row.attention,
            f"{row.parameters:,}",
            _gmacs(row.macs),
            "x".join(map(str, row.input_size)),
            str(row.classes),
            "-" if row.published_top1 is None else _both(row.published_top1, row.published_top5),
            short_source(row),
        )
        for row in rows
    ]
    spare = ("source", "classes", "family", "input")
    show_rows(out, (*columns, "source"), cells, right=columns[3:], folded={"source"}, spare=spare)


def show_portrait(out: Console, found: Portrait) -> None:
    """One net: facts, published figures, weights, stages, and a diagram of each kind of block."""
    show_pairs(out, _facts(found))
    _show_published(out, found.row)
    _show_weights(out, found.row)
    _show_stages(out, found.outline.stages)
    for kind in found.outline.kinds:
        _show_kind(out, kind)


def _facts(found: Portrait) -> Mapping[str, str]:
    row, attention = found.row, found.attention
    facts = {
        "name": row.name,
        "family": row.family,
        "attention": row.attention,
        "source": row.source,
        "form": f"{row.form}; {f'in the other form: {row.twin}' if row.twin else 'there is no other'}",
        "input": f"RGB {preprocessing(row.preprocessing)}",
        "classes": str(row.classes),
        "parameters": f"{row.parameters:,}",
        "multiply-adds": f"{row.macs:,}",
    }
    if row.attention != "none":
        facts["of these attention"] = (
            f"{attention.parameters:,} parameters ({attention.parameters / row.parameters:.3%}), "
            f"{attention.macs:,} multiply-adds ({attention.macs / row.macs:.3%})"
            f"{'; its paths are not among them' if row.attention == 'sk' else ''}"
        )
    return facts


def preprocessing(recipe: zoo.Recipe) -> str:
    """Say how an image becomes a net's input."""
    size, method, to = recipe.input_size, recipe.resize_method, recipe.resize_size
    resized = card_view.resized(size, method, to, recipe.interpolation)
    return f"{resized}, {card_view.scaled(recipe.mean, recipe.std)}"


def _show_published(out: Console, row: Listed) -> None:
    if not row.published:
        show_pairs(out, {"published accuracy": "none known"})
        return
    table = plain_table(out, "published top-1 %", "top-5 %", "by")
    for figure in row.published:
        table.add_row(_percent(figure.top1), _percent(figure.top5), escape(figure.source))
    show_table(out, table)


def _show_weights(out: Console, row: Listed) -> None:
    if not row.weights:
        show_pairs(out, {"trained weights": "not known to exist"})
        return
    table = plain_table(out, "trained weights", "layout", "licence")
    for known in row.weights:
        table.add_row(
            escape(known.where), known.layout or "no file that can be loaded", known.licence or "not given"
        )
    show_table(out, table)


def _show_stages(out: Console, stages: Sequence[Stage]) -> None:
    columns = ("stage", "content", "output", "parameters", "GMACs", "attention's", "share", "its kMACs")
    cells = [
        (
            stage.name,
            stage.content,
            _shape(stage.output),
            f"{stage.cost.parameters:,}",
            _gmacs(stage.cost.macs),
            f"{stage.attention.parameters:,}" if stage.gate else "-",
            f"{stage.attention.parameters / stage.cost.parameters:.2%}" if stage.gate else "-",
            f"{stage.attention.macs / 1000:,.1f}" if stage.gate else "-",
        )
        for stage in stages
    ]
    spare = ("its kMACs", "share", "output")
    show_rows(out, columns, cells, right=columns[3:], folded={"content"}, spare=spare)
    gates = {stage.name: stage.gate for stage in stages if stage.gate}
    if gates:
        show_pairs(out, gates, "gates of the attention")


def _show_kind(out: Console, kind: Kind) -> None:
    first, *others = kind.names
    like = ""
    if others:
        shown = others if len(others) <= _FEW else [*others[:_FEW], f"and {len(others) - _FEW} more"]
        like = f"; so, but for widths, {', '.join(shown)}"
    head = f"{first}: {kind.title}, {_shape(kind.input)} -> {_shape(kind.output)}{like}"
    for line in (head, *(f"  {line}" for line in kind.lines), ""):
        out.print(escape(line), soft_wrap=True)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _gmacs(macs: int) -> str:
    return f"{macs / _GIGA:.3f}" if macs >= _GIGA / 1000 else f"{macs / _GIGA:.5f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _both(top1: float, top5: float | None) -> str:
    return f"{top1:.2f}/{_percent(top5)}"
