"""What became of a net's recipes, for whoever builds it: a table, and what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from model_store.recipe_table import KINDS, PORTABLE, RecipeName
from model_store.recipes import Choice
from model_store.show import show_rows

UNKNOWN = "-"


def show_choice(out: Console, name: str, choice: Choice) -> None:
    """Print what was made and measured; nothing for a net that is served as it is.

    Args:
        out: Where to.
        name: The model's.
        choice: What was decided.
    """
    offered = [recipe.name for recipe in choice.net.recipes] or [PORTABLE]
    if not (choice.net.recipes or choice.timings or choice.left_out):
        return
    shown = [*offered, *(one for one in choice.proofs if one not in offered)]
    cases = sorted(
        {(one.threads or 0, one.batch) for one in choice.timings}, key=lambda case: (case[1], case[0])
    )
    head = [_case(threads, batch) for threads, batch in cases]
    columns = ("recipe", "dtype", "error", "same class", *head, f"against {PORTABLE}")
    rows = [_row(one, choice, cases) for one in shown]
    show_rows(out, columns, rows, right=columns[2:], spare=("same class", "dtype"))
    threads = "all cores" if choice.threads is None else f"CPU threads: {choice.threads}"
    lines = [f"recipes, the preferred one first: {', '.join(offered)}; {threads}"]
    lines += [f"{one} is left out: {why}" for one, why in choice.left_out.items()]
    lines += [f"{one} could not be measured: {why}" for one, why in choice.unmeasured.items()]
    for line in lines:
        out.print(f"{name}: {line}", soft_wrap=True, markup=False)


def _case(threads: int, batch: int) -> str:
    images = "1 image" if batch == 1 else f"{batch} images"
    return f"{images}, {'all cores' if threads == 0 else f'{threads} threads' if threads > 1 else '1 thread'}"


def _row(name: RecipeName, choice: Choice, cases: Sequence[tuple[int, int]]) -> list[str]:
    proof = choice.proofs.get(name)
    error = choice.net.parity.max_abs_error if name == PORTABLE else proof.error if proof else None
    times = {(one.threads or 0, one.batch): one.seconds for one in choice.timings if one.name == name}
    return [
        name,
        KINDS[name].dtype,
        UNKNOWN if error is None else f"{error:.2g}",
        UNKNOWN if proof is None else f"{proof.agreeing} of {proof.samples}",
        *(f"{times[case] * 1e3:.3g} ms" if case in times else UNKNOWN for case in cases),
        f"{choice.gains[name]:.2f} x" if name in choice.gains else UNKNOWN,
    ]
