"""The benchmark of nets: turns, limits, goals, tables."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from loadtests.bench.goal import Spread, at_least, at_most, under
from loadtests.bench_model import __main__ as command
from loadtests.bench_model.findings import PAIRS, Findings, Pair, Wish, precision_of
from loadtests.bench_model.forms import FORMS, FormError, Subject, error, make
from loadtests.bench_model.measure import measure
from loadtests.bench_model.peak import MATMUL, peaks
from loadtests.bench_model.plots import draw
from loadtests.bench_model.report import as_json, goals, overhead, show, stretches
from loadtests.bench_model.rounds import SETTLING_RUNS, Key, Plan, Rounds, Timer, interleave
from loadtests.machine import Machine

FAST, SLOW = Key(net="a", form="x", batch=8), Key(net="b", form="x", batch=8)


def test_subjects_take_turns() -> None:
    """Each is warmed up, then every round gives every one its turn in the same order."""
    seen: list[tuple[str, int]] = []

    def subject(name: str, seconds: float) -> Timer:
        def run(batches: int) -> float:
            seen.append((name, batches))
            return seconds

        return run

    timers = {FAST: subject("a", 0.01), SLOW: subject("b", 3.0)}
    rounds = interleave(timers, Plan(rounds=3, turn_s=0.1), lambda _: None)
    assert seen[: 2 * SETTLING_RUNS] == [("a", 1)] * SETTLING_RUNS + [("b", 1)] * SETTLING_RUNS
    assert seen[2 * SETTLING_RUNS :] == [("a", 10), ("b", 1)] * 3
    assert rounds.seconds[SLOW] == (3.0,) * 3


@given(drift=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=9))
def test_a_machine_that_becomes_slower_changes_no_ratio(drift: list[float]) -> None:
    """Ratios are taken within a round, so what slows both down cancels out."""
    rounds = Rounds(
        seconds={FAST: tuple(0.1 * slow for slow in drift), SLOW: tuple(0.25 * slow for slow in drift)}
    )
    found = rounds.ratio(SLOW, FAST)
    assert (found.least, found.median, found.most) == pytest.approx((2.5, 2.5, 2.5))


def test_rates_are_images_a_second() -> None:
    """Eight images in 0.5, 1 and 4 seconds."""
    found = Rounds(seconds={FAST: (1.0, 0.5, 4.0)}).rate(FAST)
    assert (found.least, found.median, found.most) == (2.0, 8.0, 16.0)


def test_the_peak_is_the_best_of_all_sides_and_rounds() -> None:
    """A multiplication of n x n matrices is 2 n^3 operations (Golub & Van Loan, Matrix Computations, 1.1)."""
    seconds = {
        Key(net=MATMUL, form="float32", batch=1000): (0.1, 0.02),
        Key(net=MATMUL, form="float32", batch=100): (1.0, 1.0),
        FAST: (1e-9,),
    }
    assert peaks(Rounds(seconds=seconds)) == {"float32": pytest.approx(1e11)}


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (at_least("", Spread.of([1.0, 2.0, 3.0]), 2.0), True),
        (at_least("", Spread.of([1.0, 1.9, 3.0]), 2.0), False),
        (at_most("", Spread.of([1.0, 2.0, 3.0]), 2.0), True),
        (at_most("", Spread.of([1.0, 2.1, 3.0]), 2.0), False),
        (under("", Spread.of([1.0, 2.0, 3.0]), 2.0), False),
    ],
)
def test_the_median_decides_about_a_goal(goal: object, reached: bool) -> None:
    """At the bound it is reached, but not where it must be below."""
    assert getattr(goal, "reached") is reached  # noqa: B009  any of the kinds


def made(fused_s: float = 0.2, attention: float = 1.05) -> Findings:
    """Figures of three rounds, batch 8: script at 1 s, bf16 at 0.3 s; SE over the same net without."""
    pair = PAIRS[0]
    net = {"script": 1.0, "portable": 0.6, "cpu-bf16": 0.3, "cpu-fused": fused_s, "openvino-int8": 0.1}
    seconds = {Key(net=pair.net, form=form, batch=8): (at, 1.1 * at, 1.2 * at) for form, at in net.items()}
    without = fused_s / attention
    seconds[Key(net=pair.backbone, form="cpu-fused", batch=8)] = (without, 1.1 * without, 1.2 * without)
    return Findings(
        machine=Machine.here(),
        wish=Wish(net=pair.net, batches=(8,), threads=2, pairs=(pair,)),
        rounds=Rounds(seconds=seconds),
        macs={pair.net: 4_000_000_000, pair.backbone: 3_900_000_000},
        peaks={"float32": 1.6e11, "bfloat16": 4e11},
        errors={pair.net: dict.fromkeys(net, 0.004)},
        missing=("resnet50, cpu-bf16: no",),
        others_cores=0.0,
    )


def test_goals_are_held_against_the_ratios_of_rounds() -> None:
    """3.5 times the script and 1.3 times bf16; attention within 10 % of the net without it."""
    speed, over_bf16, attention = goals(made(fused_s=0.2))
    assert speed.median == pytest.approx(5.0)
    assert speed.reached
    assert over_bf16.median == pytest.approx(1.5)
    assert over_bf16.reached
    assert attention.median == pytest.approx(5.0)
    assert attention.reached
    missed = goals(made(fused_s=0.29, attention=1.2))
    assert [goal.reached for goal in missed] == [False, False, False]
    assert [goal.reached for goal in stretches(made())] == [False, False]


def test_overhead_is_in_percent_of_the_net_without() -> None:
    """None where one of the two was not measured."""
    findings = made(attention=1.12)
    found = overhead(findings, PAIRS[0], "cpu-fused", 8)
    assert found is not None
    assert found.median == pytest.approx(12.0)
    assert overhead(findings, PAIRS[0], "cpu-bf16", 8) is None


def test_the_limit_is_the_peak_over_the_operations_of_an_image() -> None:
    """Two operations a multiply-add; int8's peak is not known."""
    findings = made()
    assert findings.limit("se_resnet50", "bfloat16") == pytest.approx(50.0)
    assert findings.limit("se_resnet50", precision_of("openvino-int8")) is None


def test_the_report_shows_forms_goals_and_what_is_missing() -> None:
    """Also as JSON, with the seconds of every round."""
    console = Console(file=io.StringIO(), width=200)
    findings = made()
    show(findings, console)
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
    for part in ("openvino-int8", "times as fast as script", "resnet50, cpu-bf16: no", "of 50", "2.56"):
        assert part in text
    assert "do not trust" not in text
    document = json.loads(json.dumps(as_json(findings)))
    assert document["rounds"][0]["seconds"] == pytest.approx([1.0, 1.1, 1.2])
    show(replace(findings, others_cores=0.5), console)
    assert "do not trust" in console.file.getvalue()  # type: ignore[attr-defined] # as above


def test_the_drawing_is_written_in_either_format(tmp_path: Path) -> None:
    """By the ending of its name."""
    draw(made(), tmp_path / "deep" / "model.svg")
    assert "cpu-fused" in (tmp_path / "deep" / "model.svg").read_text()
    alone = replace(made(), wish=replace(made().wish, pairs=()))
    draw(alone, tmp_path / "model.png")
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_a_form_that_cannot_be_had_says_why() -> None:
    """With the form's name, so that the table can go on without it."""
    net = torch.nn.Linear(2, 2)  # cannot take images
    with pytest.raises(FormError, match="portable: "):
        make("portable", Subject(name="none", net=net, size=(8, 8), macs=1))


def test_an_unknown_net_is_refused() -> None:
    """With the names that are near, and no traceback."""
    result = CliRunner().invoke(_app(), ["--net", "se_resnet51"])
    assert result.exit_code == 1
    assert "se_resnet50" in " ".join(result.output.split())


@pytest.mark.slow
def test_forms_are_measured_and_compute_the_same(tmp_path: Path) -> None:
    """Of a small net of the zoo, with what attention costs; and the command prints it."""
    pair = Pair(name="SE", net="se_resnet20", backbone="resnet20", most=0.1, stretch=0.01)
    wish = Wish(net="se_resnet20", batches=(1, 2), threads=1, pairs=(pair,), plan=Plan(rounds=2, turn_s=0.01))
    findings = measure(wish, lambda _: None)
    for form in ("script", "eager", "portable"):
        assert findings.errors["se_resnet20"][form] < 1e-4
        assert findings.rounds.rate(Key(net="se_resnet20", form=form, batch=2)).least > 0
    assert overhead(findings, pair, "portable", 1) is not None
    options = ["--net", "resnet20", "--no-attention", "--quick", "--threads", "1", "--batch", "1"]
    files = ["--json", str(tmp_path / "found.json"), "--plot", str(tmp_path / "found.svg")]
    result = CliRunner().invoke(_app(), [*options, *files])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "found.json").read_text())["net"] == "resnet20"


def test_forms_want_their_own_input() -> None:
    """bfloat16 and channels last, or what came."""
    images = torch.zeros(2, 3, 4, 4)
    found = FORMS["cpu-bf16"].input(images)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert FORMS["eager"].input(images) is images


def test_the_error_is_relative_to_the_largest_logit() -> None:
    """A form that doubles everything is off by 1."""
    net = torch.nn.Flatten()
    subject = Subject(name="none", net=net, size=(2, 2), macs=1)
    assert error("eager", lambda images: 2 * net(images), subject) == pytest.approx(1.0)


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command.main)
    return app
