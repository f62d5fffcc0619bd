"""`attnserve inspect`: what it shows, and what each mistake is answered with."""

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from model_store.cli import app
from model_store.inspect_archive import inspect
from model_store.inspect_view import show_inspection


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


@cache
def built() -> dict[str, bytes]:
    """Build digits_se with random weights, once: the archive and the list of sums beside it."""
    with TemporaryDirectory() as folder:
        result = run("build", "--arch", "digits_se", "--untrained", "--output", folder)
        assert result.exit_code == 0, result.output
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def build_untrained(folder: Path) -> Path:
    """Put digits_se with random weights into a folder."""
    for name, data in built().items():
        (folder / name).write_bytes(data)
    return folder / "digits_se.mar"


def test_inspect_shows_the_card(tmp_path: Path) -> None:
    """Hashes, figures, labels and the attention's columns, without blanks at the ends of lines."""
    path = build_untrained(tmp_path)
    result = run("inspect", path)
    assert result.exit_code == 0
    for text in (
        "matches in SHA256SUMS",
        "every inner file matches",
        "20,470",
        "layer3.0.attention",
        "24..55",
    ):
        assert text in result.stdout
    assert not any(line != line.rstrip() for line in result.stdout.splitlines())


def page(folder: Path, **card: object) -> list[str]:
    """Return the page of a trained digits_se with this card, a line each, columns one blank apart."""
    found = inspect(build_untrained(folder))
    signature = {**found.signature, "trained": True, "card": card}
    out = Console(file=io.StringIO(), width=200)
    show_inspection(out, replace(found, signature=signature))
    assert isinstance(out.file, io.StringIO)
    return [" ".join(line.split()) for line in out.file.getvalue().splitlines()]


def test_the_page_of_a_full_card(tmp_path: Path) -> None:
    """Each part in words: weights, accuracy with its data and interval, calibration, speed."""
    evaluation = {
        "data": "my photos",
        "images": 1200,
        "without_answer": 2,
        "top1": 0.9,
        "top1_interval_95": [0.88169, 0.91574],
        "ece": 0.0123,
        "brier": 0.15,
        "nll": 0.31,
        "decoder": "Pillow 13",
    }
    weights = {
        "source": "a friend",
        "file": "best.pt",
        "sha256": "0" * 64,
        "layout": "timm",
        "form": "torch",
        "settings": {"layer1.0.attention": "k=3"},
        "licence": "MIT",
    }
    lines = page(
        tmp_path,
        weights=weights,
        evaluation=evaluation,
        speed={"images_per_second": 87.5, "batch": 8, "device": "cpu"},
        parameters=20470,
        note="hello",
    )
    for line in (
        "licence of the weights MIT",
        "layout of the file timm",
        "form torch",
        "settings layer1.0.attention k=3",
        "evaluated on my photos: 1,200 images, 2 more without an answer",
        "top-1 90.00% (95 % interval 88.17% to 91.57%)",
        "calibration expected calibration error 0.0123, Brier score 0.15, negative log-likelihood 0.31",
        "evaluation's decoder Pillow 13",
        "speed 87.5 images a second, batch 8, device cpu",
        "parameters 20,470",
        "note hello",
    ):
        assert line in lines


def test_the_accuracy_of_the_demo_says_on_how_many_images(tmp_path: Path) -> None:
    """The demo's card tells how its data were split."""
    lines = page(tmp_path, accuracy=0.5, accuracy_interval_95=[0.4, 0.6], split={"held_out": 540, "seed": 0})
    assert "accuracy at building 50.00% (95 % interval 40.00% to 60.00%), 540 held-out images" in lines


def test_what_a_card_does_not_say_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Nothing is left out silently."""
    lines = page(tmp_path)
    for line in (
        "source not given",
        "licence of the weights not given",
        "sha256 of the file not given",
        "form not given",
        "parameters not given",
        "accuracy not measured; attnserve evaluate does",
        "speed not measured",
    ):
        assert line in lines


def test_random_weights_have_no_source(tmp_path: Path) -> None:
    """Nobody gave them a licence."""
    shown = run("inspect", build_untrained(tmp_path)).stdout
    assert "no: random weights" in shown
    assert "licence" not in shown


def test_published_figures_are_not_of_these_weights(tmp_path: Path) -> None:
    """They stand apart, under what they are of, with their source."""
    lines = page(tmp_path, published=[{"top1": 76.71, "top5": None, "source": "a paper, table 2"}])
    head = lines.index("published of digits_se, not of these weights top-1 % top-5 %")
    assert lines[head + 1] == "a paper, table 2 76.71 -"


def test_a_card_may_hold_anything(tmp_path: Path) -> None:
    """A card is free: values of other types are shown as they are."""
    lines = page(
        tmp_path,
        accuracy="good",
        accuracy_interval_95="narrow",
        confusion="none",
        evaluation="later",
        speed=7,
        weights=[1],
        published="in a journal",
        macs="few",
    )
    assert {"accuracy not measured; attnserve evaluate does", "multiply-adds not given"} <= set(lines)
    others = lines[lines.index("also on its card") :]
    for line in ("accuracy good", "evaluation later", "speed 7", "weights 1", "macs few", "confusion none"):
        assert line in others


def test_inspect_speaks_json(tmp_path: Path) -> None:
    """The same for machines."""
    path = build_untrained(tmp_path)
    document = json.loads(run("inspect", path, "--json").stdout)
    assert document["intact"] is True
    assert document["sha256"] == inspect(path).sha256
    assert document["signature"]["name"] == "digits_se"


def test_inspect_says_that_a_file_is_not_listed(tmp_path: Path) -> None:
    """Without SHA256SUMS beside it an archive is no less intact, but nothing vouches for it."""
    path = build_untrained(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    result = run("inspect", path)
    assert result.exit_code == 0
    assert "not listed in SHA256SUMS" in result.stdout


def test_inspect_names_what_was_altered(tmp_path: Path) -> None:
    """An entry changed, added or removed is named, and the exit code is 1."""
    path = build_untrained(tmp_path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["model-config.yaml"] += b"# more\n"
    entries["extra.txt"] = b""
    del entries["parity.npz"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    result = run("inspect", path)
    assert result.exit_code == 1
    assert "differs in SHA256SUMS" in result.stdout
    assert inspect(path).damaged == {
        "extra.txt": "not in SHA256SUMS",
        "model-config.yaml": "altered",
        "parity.npz": "missing",
    }
    assert "does not match its hashes" in result.stderr


@pytest.mark.parametrize(
    ("content", "code"), [(None, 2), (b"no zip", 1), (b"", 1)], ids=["missing", "text", "empty"]
)
def test_inspect_refuses_what_is_no_archive(tmp_path: Path, content: bytes | None, code: int) -> None:
    """One line; exit code 2 for a file that is not there, 1 for one that is no archive."""
    path = tmp_path / "x.mar"
    if content is not None:
        path.write_bytes(content)
    result = run("inspect", path)
    assert result.exit_code == code
    assert result.stderr.startswith("error: archive: cannot read")
    assert result.stderr.count("\n") == 1


def test_inspect_refuses_a_foreign_archive(tmp_path: Path) -> None:
    """A .mar of someone else has no list of sums."""
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    result = run("inspect", tmp_path / "x.mar")
    assert result.exit_code == 1
    assert "lacks SHA256SUMS" in result.stderr


def test_help_does_not_wait_for_torch() -> None:
    """Importing the commands imports neither torch nor scikit-learn."""
    code = "import sys, model_store.cli; print(sorted({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def run_without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as in the gateway's environment, which has neither torch nor scikit-learn."""
    code = (
        "import sys; sys.modules.update(torch=None, sklearn=None); from model_store.cli import app;"
        "app()(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_inspect_needs_no_torch(tmp_path: Path) -> None:
    """An archive can be checked where a gateway runs."""
    done = run_without_torch("inspect", build_untrained(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "every inner file matches" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["zoo"], ["build", "--arch", "resnet18", "--untrained"], ["evaluate", "x.mar", "photos"]]
)
def test_what_needs_torch_says_how_to_get_it(arguments: list[str]) -> None:
    """One line and exit code 1."""
    done = run_without_torch(*arguments)
    assert done.returncode == 1
    assert done.stderr == "error: this needs torch: pip install 'attnserve[foundry]'\n"


def test_the_commands_run_alone() -> None:
    """`python -m model_store.cli` offers them all."""
    command = [sys.executable, "-m", "model_store.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert all(name in done.stdout for name in ("zoo", "build", "inspect", "explain"))
