"""`attnserve zoo`: the table, its filters and orders, one net in full, and the README's table."""

from __future__ import annotations

import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from model_store import zoo
from model_store.cli import app
from model_store.listing import listing
from model_store.zoo_view import show_zoo

README = Path(__file__).parents[2] / "README.md"

slow = partial(pytest.param, marks=pytest.mark.slow)

KEYS = [
    "name",
    "family",
    "attention",
    "parameters",
    "macs",
    "input_size",
    "classes",
    "published_top1",
    "source",
]


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def rows(*arguments: str) -> list[dict[str, Any]]:
    """Return the table as machines get it."""
    result = run("zoo", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def one(name: str) -> dict[str, Any]:
    """Return one net as machines get it."""
    result = run("zoo", name, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_zoo_is_listed_for_machines() -> None:
    """Every row has the keys of the contract."""
    found = rows()
    assert [row["name"] for row in found] == list(zoo.TABLE)
    assert all([key for key in row if key in KEYS] == KEYS for row in found)
    (se_resnet50,) = (row for row in found if row["name"] == "se_resnet50")
    assert se_resnet50["parameters"] == 28_088_024
    assert se_resnet50["input_size"] == [224, 224]
    assert se_resnet50["twin"] == "se_resnet50_caffe"


def test_the_zoo_is_listed_for_people() -> None:
    """One line for each net, after the head; its figures are the row's."""
    lines = run("zoo").stdout.splitlines()
    assert lines[0].split()[:3] == ["name", "family", "attention"]
    assert [line.split()[0] for line in lines[1:] if line] == list(zoo.TABLE)
    (line,) = (line for line in lines if line.startswith("se_resnet50 "))
    # Hu et al., table 2: 23.29 % and 6.62 % error; parameters as Cadene's and timm's nets have them.
    assert line.split() == [
        *("se_resnet50", "resnet", "se", "28,088,024", "4.092", "224x224", "1000", "76.71/93.38"),
        *("Hu", "et", "al.", "2017"),
    ]


def test_a_narrow_terminal_shows_whole_names_and_figures() -> None:
    """In 80 columns each net has one line; the columns that are missing are named."""
    found = listing()
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with terminal.capture() as captured:
        show_zoo(terminal, found)
    lines = captured.get().splitlines()
    for row in found:
        (line,) = (line for line in lines if line.split()[:1] == [row.name])
        assert f"{row.parameters:,}" in line.split()
    assert "left out for want of width: source, classes, family, input" in lines


def test_filters_leave_what_fits() -> None:
    """Each by itself and together."""
    assert {row["attention"] for row in rows("--attention", "eca")} == {"eca"}
    assert {row["form"] for row in rows("--form", "caffe")} == {"caffe"}
    both = rows("--family", "resnext", "--attention", "se")
    assert {(row["family"], row["attention"]) for row in both} == {("resnext", "se")}
    assert "se_resnext50_32x4d" in [row["name"] for row in both]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attention", "es"], r"attention: no net has 'es'; there are none, se, eca, sk, .*scse"),
        (["--family", "vgg"], r"family: no net has 'vgg'; there are resnet, resnext, "),
        (
            ["--family", "sknet", "--attention", "eca"],
            r"attention: no net that the filters before it leave has 'eca'; there are sk$",
        ),
        (["--form", "keras"], r"form: no net has 'keras'; there are torch, caffe$"),
        (["--sort", "size"], r"sort: must be one of name, parameters, macs, top1, got 'size'$"),
        (["--json", "--markdown"], r"give one of --json, --markdown; got both$"),
        (["seresnet50"], r"such as se_resnet50.*got 'seresnet50'$"),
        (["resnet50", "--sort", "name", "--markdown"], r"--sort, --markdown cannot be combined with a name"),
    ],
)
def test_what_matches_nothing_is_answered_with_what_exists(arguments: list[str], message: str) -> None:
    """One line and exit code 2."""
    result = run("zoo", *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr.strip())


@pytest.mark.parametrize("key", ["parameters", "macs"])
def test_numbers_are_sorted(key: str) -> None:
    """Smallest first, or last."""
    numbers = [row[key] for row in rows("--sort", key)]
    assert numbers == sorted(numbers)
    assert [row[key] for row in rows("--sort", key, "--reverse")] == numbers[::-1]


def test_rows_without_a_figure_stand_last_in_both_directions() -> None:
    """Best or worst accuracy first; what has none is neither."""
    for direction in ([], ["--reverse"]):
        figures = [row["published_top1"] for row in rows("--sort", "top1", *direction)]
        known = [figure for figure in figures if figure is not None]
        assert known == sorted(known, reverse=bool(direction))
        assert None in figures
        assert figures[: len(known)] == known


def test_names_are_sorted_by_their_numbers() -> None:
    """56 stands before 110."""
    names = [row["name"] for row in rows("--sort", "name", "--attention", "none")]
    assert names.index("resnet56") + 1 == names.index("resnet101")
    assert [row["name"] for row in rows("--reverse")] == list(zoo.TABLE)[::-1]


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # Hu et al., equation 5: (2 / r) sum N C^2 for the weights; the released nets have biases, too.
        ("se_resnet50", 2_530_992, 2_514_944),
        slow("se_resnet50_nobias", 2_514_944, 2_514_944),
        ("eca_resnet50_k3557", 80, None),  # Wang et al., abstract
        slow("eca_resnet50", 86, None),  # k = 5, 5, 5, 7 in 3, 4, 6, 3 blocks
        slow("eca_mobilenet_v2_k13", 31, None),  # 3,504,903 - 3,504,872
        slow("bam_resnet50", 25_915_099 - 25_557_032, None),
        slow("cbam_resnet50", 28_089_624 - 25_557_032, None),
        ("se_resnet20", 274_490 - 272_474, None),
        ("resnet20", 0, 0),
    ],
)
def test_the_attention_s_share_is_what_it_adds(name: str, parameters: int, macs: int | None) -> None:
    """Counted by itself, an attention has what its net has more than the plain one."""
    found = one(name)
    assert found["attention_cost"]["parameters"] == parameters
    assert macs is None or found["attention_cost"]["macs"] == macs


@pytest.mark.parametrize(
    "name", ["digits_sk", "resnet20", *map(slow, ("sknet26", "se_bn_inception", "eca_mobilenet_v2"))]
)
def test_stages_add_up_to_the_net(name: str) -> None:
    """Nothing is counted twice, and nothing left out."""
    found = one(name)
    assert sum(stage["cost"]["parameters"] for stage in found["stages"]) == zoo.get(name).parameters
    assert sum(stage["cost"]["macs"] for stage in found["stages"]) == zoo.get(name).macs
    assert found["stages"][0]["name"] == "stem"
    assert found["stages"][-1]["output"] == [zoo.get(name).classes]


def test_one_row_for_machines_is_the_row_and_more() -> None:
    """All keys of the table, then what the net is made of."""
    found = one("se_resnet20")
    (listed,) = (row for row in rows() if row["name"] == "se_resnet20")
    assert {key: found[key] for key in listed} == listed
    assert [stage["output"] for stage in found["stages"]][:2] == [[16, 32, 32], [16, 32, 32]]
    blocks = [name for kind in found["kinds"] for name in kind["names"]]
    assert sorted(blocks) == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]


def test_one_row_is_shown_in_full() -> None:
    """Twin, preprocessing, figures with sources, weights with licences, shares, gates and diagrams."""
    shown = run("zoo", "se_resnet50_caffe").stdout
    for text in (
        "caffe; in the other form: se_resnet50",
        "shorter side to 256, centre 224x224, bilinear, 0 to 1, mean 0.485 0.456 0.406",
        "2,530,992 parameters (9.011%), 2,514,944 multiply-adds (0.065%)",
        "mean -> 2048 -> 128 -> ReLU -> 2048 -> sigmoid",
        "3x3 max pool, stride 2, rounded up",
        "layer2.0: Bottleneck, 256x56x56 -> 512x28x28; so, but for widths, layer3.0, layer4.0",
        "├─ 1x1 conv 256 -> 128, stride 2, BN, ReLU",
    ):
        assert text in shown
    row = zoo.get("se_resnet50_caffe")
    assert all(figure.source in shown for figure in row.published)
    assert all(known.where in shown for known in row.weights)
    assert not any(line != line.rstrip() for line in shown.splitlines())


def test_what_is_not_known_of_a_row_is_said() -> None:
    """No accuracy, no weights, no other form."""
    shown = run("zoo", "digits_sk").stdout
    assert "none known" in shown
    assert "not known to exist" in shown
    assert "torch; there is no other" in shown
    assert "its paths are not among them" in shown


def test_the_readme_has_the_zoo_s_table() -> None:
    """What `attnserve zoo --markdown` prints stands between the markers; else paste it there."""
    text = README.read_text(encoding="utf-8")
    between = text.partition("<!-- zoo -->")[2].partition("<!-- /zoo -->")[0]
    assert between.strip() == run("zoo", "--markdown").stdout.strip()
