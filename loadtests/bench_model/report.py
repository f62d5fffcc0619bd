"""What the benchmark of nets says: tables, goals, JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loadtests.bench.goal import Goal, Spread, at_least, at_most, show_goals
from loadtests.bench_model.findings import OPENVINO, Findings, Pair, precision_of
from loadtests.bench_model.forms import FORMS, RECIPES
from loadtests.bench_model.peak import MATMUL
from loadtests.bench_model.rounds import Key

# (form, at least so many times as fast as, form): the project's goals for every batch size.
SPEEDS: Final = (("cpu-fused", 3.5, "script"), ("cpu-fused", 1.3, "cpu-bf16"))
STRETCHES: Final = (("cpu-fused", 1.0, OPENVINO + "int8"), ("cpu-int8", 1.0, OPENVINO + "int8"))
MOST_OTHER_CORES: Final = 0.2


def goals(findings: Findings) -> list[Goal]:
    """The figures that have a goal, as far as they could be measured."""
    return [
        *_speeds(findings, SPEEDS),
        *(
            at_most(what, found, round(100 * pair.most, 1))
            for pair, what, found in _fastest_overheads(findings)
        ),
    ]


def stretches(findings: Findings) -> list[Goal]:
    """What could be hoped for at best."""
    return [
        *_speeds(findings, STRETCHES),
        *(
            at_most(what, found, round(100 * pair.stretch, 1))
            for pair, what, found in _fastest_overheads(findings)
        ),
    ]


def overhead(findings: Findings, pair: Pair, form: str, batch: int) -> Spread | None:
    """What attention costs, in percent of the backbone's time; None: it was not measured."""
    net, backbone = (Key(net=name, form=form, batch=batch) for name in (pair.net, pair.backbone))
    if net not in findings.rounds or backbone not in findings.rounds:
        return None
    found = findings.rounds.ratio(net, backbone)
    return Spread.of(100 * (ratio - 1) for ratio in (found.least, found.median, found.most))


def as_json(findings: Findings) -> dict[str, Any]:
    """Everything, goals included."""
    return {
        "machine": asdict(findings.machine),
        "net": findings.wish.net,
        "threads": findings.wish.threads,
        "others_cores": findings.others_cores,
        "macs": dict(findings.macs),
        "peak_operations_a_second": dict(findings.peaks),
        "errors": {net: dict(errors) for net, errors in findings.errors.items()},
        "missing": list(findings.missing),
        "rounds": [
            {**asdict(key), "seconds": list(seconds)} for key, seconds in findings.rounds.seconds.items()
        ],
        "goals": [asdict(goal) for goal in goals(findings)],
        "stretch_goals": [asdict(goal) for goal in stretches(findings)],
    }


def show(findings: Findings, console: Console) -> None:
    """Print it."""
    _show_forms(findings, console)
    if findings.wish.pairs:
        _show_overheads(findings, console)
    show_goals(goals(findings), console)
    show_goals(stretches(findings), console, "Stretch goals")
    for reason in findings.missing:
        console.print(f"not measured: {reason}", style="yellow", markup=False, soft_wrap=True)
    if findings.others_cores > MOST_OTHER_CORES:
        console.print(
            f"Others kept {findings.others_cores:.1f} cores busy meanwhile: do not trust these figures.",
            style="yellow",
            soft_wrap=True,
        )
    peaks = ", ".join(f"{precision} {rate / 1e9:.0f}" for precision, rate in findings.peaks.items())
    machine = findings.machine
    console.print(
        f"{MATMUL}: {peaks} GFLOP/s; {findings.wish.threads} threads, {findings.wish.plan.rounds} rounds"
    )
    console.print(
        f"{machine.processor}, {machine.cores} cores; {machine.system}; Python {machine.python}, "
        f"torch {machine.torch}; {machine.date}",
        soft_wrap=True,
    )


def forms_of(findings: Findings) -> list[str]:
    """The measured forms of the net, in the order of their turns."""
    return list(dict.fromkeys(key.form for key in findings.rounds.seconds if key.net == findings.wish.net))


def _speeds(findings: Findings, wanted: tuple[tuple[str, float, str], ...]) -> Iterator[Goal]:
    for form, bound, other in wanted:
        for batch in findings.wish.batches:
            key, to = (Key(net=findings.wish.net, form=name, batch=batch) for name in (form, other))
            if key in findings.rounds and to in findings.rounds:
                what = f"{key.net}, batch {batch}: {form}, times as fast as {other}"
                yield at_least(what, findings.rounds.ratio(to, key), bound)


def _fastest_overheads(findings: Findings) -> Iterator[tuple[Pair, str, Spread]]:
    for pair in findings.wish.pairs:
        for batch in findings.wish.batches:
            form = findings.fastest(pair.net, batch)
            found = None if form is None else overhead(findings, pair, form, batch)
            if found is not None:
                yield pair, f"{pair.name} over {pair.backbone}, batch {batch}, {form}: % slower", found


def _show_forms(findings: Findings, console: Console) -> None:
    wish = findings.wish
    table = Table(
        *("form", "batch", "images/s", "min-max", "times script", "of the limit", "error"),
        title=f"{wish.net}: one module in a bare loop",
    )
    for form in forms_of(findings):
        for number, batch in enumerate(wish.batches):
            key = Key(net=wish.net, form=form, batch=batch)
            rate = findings.rounds.rate(key)
            named = form if number == 0 else ""
            span = f"{rate.least:.1f}-{rate.most:.1f}"
            table.add_row(named, str(batch), f"{rate.median:.1f}", span, *_beside(findings, key))
    console.print(table)
    known = (f"{form}: {FORMS[form].says}" for form in forms_of(findings) if form in FORMS)
    console.print("; ".join(known), soft_wrap=True)


def _beside(findings: Findings, key: Key) -> tuple[str, str, str]:
    script = Key(net=key.net, form="script", batch=key.batch)
    times = f"{findings.rounds.ratio(script, key).median:.2f}" if script in findings.rounds else ""
    limit = findings.limit(key.net, precision_of(key.form))
    share = "" if limit is None else f"{findings.rounds.rate(key).median / limit:.0%} of {limit:.0f}"
    return times, share, f"{findings.errors[key.net][key.form]:.1g}"


def _show_overheads(findings: Findings, console: Console) -> None:
    table = Table(
        *("attention", "form", "batch", "% slower", "min", "max", "% more MACs"),
        title="What attention costs, over the same net without",
    )
    for pair in findings.wish.pairs:
        more = 100 * (findings.macs[pair.net] / findings.macs[pair.backbone] - 1)
        for form in RECIPES:
            for batch in findings.wish.batches:
                found = overhead(findings, pair, form, batch)
                if found is not None:
                    figures = (f"{value:.1f}" for value in (found.median, found.least, found.most))
                    table.add_row(pair.name, form, str(batch), *figures, f"{more:.2f}")
    console.print(table)
