"""`attnserve explain`: gates as the eager net has them, the terminal's chart, the picture, the mistakes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from model_store import zoo
from model_store.build import UNTRAINED_SEED
from model_store.cli import app
from model_store.errors import ArchiveError, InputError
from model_store.explain import BlockGates, Explained, Guess, explain, find_archive
from model_store.explain_figure import DPI, IMAGE_WIDTH, NET_WIDTH, draw
from model_store.explain_view import bars, show_explained, titles
from model_store.gate_figures import figures
from model_store.nets.gate import ChannelGate

NETS = ("digits_se", "digits_eca", "digits_sk", "digits_plain")


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the four digits nets, untrained."""
    folder = tmp_path_factory.mktemp("store")
    for name in NETS:
        result = run("build", "--arch", name, "--untrained", "--output", folder)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image of the nets' own size, so that nothing resizes it."""
    path = tmp_path_factory.mktemp("image") / "x.png"
    Image.fromarray(pixels()).save(path)
    return path


def pixels() -> NDArray[np.uint8]:
    """Return random ones."""
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def eager_gates(name: str) -> dict[str, torch.Tensor]:
    """Return the gates [1, M * C] of each block of the untrained net, read from the eager net."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        net = zoo.get(name).build(10).eval()
    found: dict[str, torch.Tensor] = {}
    for path, module in net.named_modules():
        if isinstance(module, ChannelGate):
            module.register_forward_hook(
                lambda _module, _input, gates, path=path: found.update({path.removesuffix(".gate"): gates})
            )
    with torch.inference_mode():
        net((torch.from_numpy(pixels()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5)
    return found


@pytest.mark.parametrize("name", ["digits_se", "digits_eca", "digits_sk"])
def test_gates_are_those_of_the_eager_net(store: Path, image: Path, name: str) -> None:
    """Block by block and branch by branch, in forward order."""
    found = explain(image.read_bytes(), store / f"{name}.mar")
    expected = eager_gates(name)
    assert [block.block for block in found.blocks] == list(expected)
    branches = 2 if name == "digits_sk" else 1
    for block in found.blocks:
        wanted = expected[block.block].numpy().reshape(branches, -1)
        np.testing.assert_allclose(block.gates, wanted, atol=1e-5)


def test_the_chart_has_a_row_a_block(store: Path, image: Path) -> None:
    """Each net's answer, its blocks with their figures, and that a plain net has no gates."""
    result = run("explain", image, "digits_se", "digits_sk", "digits_plain", "--store", store)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("digits_se (se, random weights): class ")
    assert sum("attention " in line for line in lines) == 3
    (row,) = (line for line in lines if line.startswith("layer2.0.attention"))
    gates = explain(image.read_bytes(), store / "digits_se.mar").blocks[1].gates
    assert row.split()[1] == "16"
    assert row.split()[-5:-2] == [f"{value:.2f}" for value in (gates.mean(), gates.min(), gates.max())]
    assert "digits_plain has no channel attention, so there are no gates to show" in lines
    assert any("entropy: 1 undecided, 0 decided" in line for line in lines)


def test_json_has_every_gate(store: Path, image: Path) -> None:
    """Branches, channels, figures, gates, and the three likeliest classes."""
    result = run("explain", image, store / "digits_sk.mar", "digits_plain", "--store", store, "--json")
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["image"] == str(image)
    sk, plain = document["variants"]
    assert plain["blocks"] == []
    block = sk["blocks"][-1]
    assert (block["branches"], block["channels"]) == (2, 32)
    np.testing.assert_allclose(np.array(block["gates"]).sum(0), 1, rtol=1e-5)
    chances = [guess["probability"] for guess in sk["guesses"]]
    assert chances == sorted(chances, reverse=True)
    assert len(chances) == 3


def test_the_picture_shows_nets_side_by_side(store: Path, image: Path, tmp_path: Path) -> None:
    """A PNG with a column for the image and one for each net, not empty."""
    path = tmp_path / "new" / "gates.png"
    result = run("explain", image, "digits_se", "digits_plain", "--store", store, "--output", path)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"{path}: written\n"
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        assert opened.width == round((IMAGE_WIDTH + 2 * NET_WIDTH) * DPI)
        colours = opened.convert("RGB").getcolors(opened.width * opened.height)
    assert colours is not None
    assert len(colours) > 100


def explained(blocks: int, *, label: str = "cat", model: str = "net", version: str = "1") -> Explained:
    """Return a net with so many blocks of 8 channels."""
    gates = np.linspace(0, 1, 8)[None]
    of_block = tuple(
        BlockGates(block=f"layer1.{index}", gates=gates, figures=figures(gates)) for index in range(blocks)
    )
    return Explained(
        model=model,
        version=version,
        architecture="net",
        attention="se",
        trained=True,
        guesses=(Guess(label=label, probability=0.9),),
        blocks=of_block,
    )


def test_a_deep_net_makes_a_high_picture() -> None:
    """Every block has its row; labels of any script are no obstacle, and a dollar is a dollar."""
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, "GIF")
    sizes = []
    for blocks in (1, 10, 30):
        with Image.open(io.BytesIO(draw(file.getvalue(), [explained(blocks, label="猫 $x$")]))) as opened:
            sizes.append(opened.size)
    assert sizes[0][0] == sizes[1][0] == sizes[2][0]
    assert sizes[2][1] - sizes[1][1] == 780  # 20 rows of 0.26 inches at 150 dots an inch


def test_nets_of_one_name_are_told_apart_by_version() -> None:
    """Others are called by their names alone."""
    nets = [explained(1), explained(1, version="2"), explained(1, model="other")]
    assert titles(nets) == ["net version 1", "net version 2", "other"]


def test_bars_hide_nothing() -> None:
    """An empty bin is blank, the fullest is full, and one gate among a thousand can be seen."""
    assert bars([0, 1, 500, 1000]) == " ▁▄█"
    assert bars([0, 0]) == "  "


@pytest.mark.parametrize(("width", "left_out"), [(80, "channels, min, max"), (120, "")])
def test_the_chart_keeps_its_bars_in_one_line(store: Path, image: Path, width: int, left_out: str) -> None:
    """A narrow terminal goes without some figures, which are named: a folded histogram cannot be read."""
    found = explain(image.read_bytes(), store / "digits_sk.mar")
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    with terminal.capture() as captured:
        show_explained(terminal, [found])
    page = captured.get()
    for block in found.blocks:
        assert bars(block.figures.histogram) in page
        assert f"{block.block} " in page
    assert ("left out for want of width" in page) == bool(left_out)
    assert left_out in page


def test_a_terminal_without_the_bars_gets_something_else(store: Path, image: Path) -> None:
    """Standard output in ASCII lacks them; the figures beside them are written none the less."""
    command = [
        sys.executable,
        "-m",
        "model_store.cli",
        "explain",
        str(image),
        "digits_se",
        "--store",
        str(store),
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2588" in done.stdout
    assert "layer3.0.attention" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits_es"], r"model: must be an archive or the name of one in .*, such as .*digits_se, "),
        (["missing.mar"], "model: there is no file 'missing.mar'"),
        (["digits_se", "--output", "gates.svg"], "output: must end in .png, got 'gates.svg'"),
        (["digits_se", "--output", "digits_se.mar/x.png"], "output: cannot write to .* is no folder"),
        (["digits_plain", "--output", "gates.png"], "output: nothing to draw: digits_plain has no channel"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    store: Path, image: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and nothing is written."""
    monkeypatch.chdir(store)
    before = sorted(store.iterdir())
    result = run("explain", image, *arguments, "--store", store)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr)
    assert sorted(store.iterdir()) == before


def test_an_unreadable_image_is_refused(store: Path, tmp_path: Path) -> None:
    """One that is not there, and one that is none."""
    result = run("explain", tmp_path / "none.png", "digits_se", "--store", store)
    assert result.exit_code == 2
    assert "image: cannot read" in result.stderr
    (tmp_path / "text.png").write_text("no image")
    result = run("explain", tmp_path / "text.png", "digits_se", "--store", store)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: image: the first bytes ")
    assert result.stderr.endswith(", says digits_se\n")


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    """There is no nearest name."""
    with pytest.raises(InputError, match=r"but there are no archives in it, got 'x'"):
        find_archive("x", tmp_path)


def test_a_damaged_archive_is_not_run(store: Path, image: Path, tmp_path: Path) -> None:
    """Its bytes differ from the list beside it."""
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  digits_se.mar\n")
    (tmp_path / "digits_se.mar").write_bytes((store / "digits_se.mar").read_bytes())
    with pytest.raises(ArchiveError, match="is damaged"):
        explain(image.read_bytes(), tmp_path / "digits_se.mar")


def test_a_missing_library_is_named(store: Path, image: Path) -> None:
    """Before the work, with the extra that brings it."""
    code = (
        "import sys; sys.modules['matplotlib'] = None; from model_store.cli import app; app()(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "explain", str(image), "digits_se", "--store", str(store)]
    done = subprocess.run(
        [*command, "--output", "x.png"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "error: this needs matplotlib: pip install 'attnserve[report]'\n"
