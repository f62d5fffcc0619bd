"""`attnserve evaluate`: counted by hand on pictures whose answers are known, exact on the demo's digits."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from model_store import digits
from model_store.cli import app
from model_store.dataset import read_dataset
from model_store.errors import ArchiveError, InputError
from model_store.evaluate import evaluate
from model_store.evaluation_view import show_evaluation
from model_store.inspect_archive import inspect
from model_store.pack import write_card
from model_store.served import ServedArchive
from tests.e2e.demo import build_demo
from tests.model_store.colours import LABELS, entries, expected_logits, picture, write_colours


def run(*arguments: object) -> Result:
    """Run the command as a user would."""
    return CliRunner().invoke(app(), ["evaluate", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of colours, which no test changes."""
    return write_colours(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red: three right, one that is magenta, one no image; blue: two right, two black; no others."""
    folder = tmp_path_factory.mktemp("photos")
    shown = {
        "red": {"1.png": "red", "2.png": "red", "3.png": "red", "4.png": "magenta"},
        "blue": {"1.png": "blue", "2.png": "blue", "3.png": "black", "4.png": "black"},
    }
    for label, files in shown.items():
        (folder / label).mkdir()
        for name, colour in files.items():
            (folder / label / name).write_bytes(picture(colour))
    (folder / "red" / "broken.jpg").write_bytes(b"not a picture")
    return folder


def figures(*arguments: object) -> dict[str, Any]:
    """What --json prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_figures_are_those_counted_by_hand(built: Path, photos: Path, batch: int) -> None:
    """Five of eight right, in batches of any size; the broken image is counted, named and left out."""
    found = figures(built, photos, "--batch", batch)
    assert (found["images"], found["top1"]["right"], found["top1"]["value"]) == (8, 5, 0.625)
    assert found["per_class"]["red"]["right"] == 3
    assert found["per_class"]["blue"]["value"] == 0.5
    assert found["per_class"]["white"] is None
    assert found["absent"] == [label for label in LABELS if label not in {"red", "blue"}]
    (failure,) = found["failures"]
    assert failure["path"] == str(photos / "red" / "broken.jpg")
    assert "no known image format" in failure["reason"]
    assert found["confusions"] == [
        {"label": "blue", "given": "black", "images": 2},
        {"label": "red", "given": "magenta", "images": 1},
    ]
    assert found["confusion"][LABELS.index("blue")][LABELS.index("black")] == 2
    assert sum(map(sum, found["confusion"])) == 8
    assert (found["data"], found["handler"]) == (photos.name, "1")


def test_calibration_is_that_of_the_formula(built: Path, photos: Path) -> None:
    """Every confidence, squared error and log-likelihood follows from the colours in plain numpy."""
    found = figures(built, photos)["calibration"]
    shown = ["red"] * 3 + ["magenta"] + ["blue"] * 2 + ["black"] * 2
    truth = ["red"] * 4 + ["blue"] * 4
    colours = {"red": (255, 0, 0), "magenta": (255, 0, 255), "blue": (0, 0, 255), "black": (0, 0, 0)}
    logits = np.stack([expected_logits(colours[colour]) for colour in shown])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = np.eye(8)[[LABELS.index(label) for label in truth]]
    assert found["nll"] == pytest.approx(-np.log((shares * wanted).sum(axis=1)).mean(), abs=1e-6)
    assert found["brier"] == pytest.approx(((shares - wanted) ** 2).sum(axis=1).mean(), abs=1e-6)
    best = shares.max(axis=1)
    right = shares.argmax(axis=1) == wanted.argmax(axis=1)
    places = np.ceil(best * 15)
    gaps = [
        abs((right[places == place] - best[places == place]).sum()) / len(best) for place in np.unique(places)
    ]
    assert found["ece"] == pytest.approx(sum(gaps), abs=1e-6)


def test_the_page_shows_it(built: Path, photos: Path) -> None:
    """Figures with intervals, classes, confusions and failures, without blanks at the ends of lines."""
    result = run(built, photos)
    assert result.exit_code == 0, result.output
    for text in (
        "62.50% (5 of 8; 95 % interval 30.57% to 86.32%)",
        "8 with an answer, 1 without",
        "broken.jpg",
        "expected calibration error",
        "labels without image",
    ):
        assert text in result.stdout
    assert not any(line != line.rstrip() for line in result.stdout.splitlines())


def test_wrong_answers_are_listed(built: Path, photos: Path, tmp_path: Path) -> None:
    """One line for each, with the probability that the net gave to its answer."""
    assert run(built, photos, "--errors", tmp_path / "wrong.csv").exit_code == 0
    with (tmp_path / "wrong.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [
        (Path(row["path"]).relative_to(photos).as_posix(), row["label"], row["given"]) for row in rows
    ] == [
        ("blue/3.png", "blue", "black"),
        ("blue/4.png", "blue", "black"),
        ("red/4.png", "red", "magenta"),
    ]
    logits = expected_logits((0, 0, 0))
    assert float(rows[0]["probability"]) == pytest.approx(np.exp(logits[0]) / np.exp(logits).sum(), abs=1e-6)


def test_a_csv_gives_what_the_folders_give(built: Path, photos: Path, tmp_path: Path) -> None:
    """The same images by another way in: the same figures."""
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    lines = [
        f"{path.relative_to(copy)},{path.parent.name}" for path in sorted(copy.rglob("*")) if path.is_file()
    ]
    (copy / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    by_list, by_folder = figures(built, copy / "labels.csv"), figures(built, copy)
    for key in ("images", "top1", "top5", "per_class", "confusion", "calibration"):
        assert by_list[key] == by_folder[key]


def test_strict_fails_where_an_image_has_no_answer(built: Path, photos: Path, tmp_path: Path) -> None:
    """Exit code 1 with --strict, after the page; 0 where all is well."""
    result = run(built, photos, "--strict")
    assert result.exit_code == 1
    assert result.stderr == "error: 1 images had no answer (--strict)\n"
    assert "62.50%" in result.stdout
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "1.png").write_bytes(picture("red"))
    assert run(built, tmp_path, "--strict").exit_code == 0


def test_an_unreadable_file_is_one_without_answer(built: Path, photos: Path) -> None:
    """A file that is gone when its turn comes does not end the measurement."""
    with ServedArchive(built) as served:
        dataset = read_dataset(photos, served.labels)
        told: list[int] = []
        moved = photos / "blue" / "1.png"
        moved.rename(photos / "away")
        try:
            found = evaluate(served, dataset, data="x", batch=4, on_batch=told.append)
        finally:
            (photos / "away").rename(moved)
    assert told == [4, 4, 1]
    assert [failure.reason for failure in found.failures if "blue" in failure.path] == [
        "cannot be read: No such file or directory"
    ]
    assert found.images == 7


def test_few_classes_have_no_top_5_and_many_no_matrix(tmp_path: Path, photos: Path) -> None:
    """Among five classes the right one is always among five; forty by forty counts are read by nobody."""
    many = figures(write_colours(tmp_path, "many", classes=40), photos)
    assert many["confusion"] is None
    assert many["confusions"][0]["given"] == "black"
    assert many["top5"]["images"] == 8
    page = run(tmp_path / "many.mar", photos)
    assert "true \\ given" not in page.stdout
    few = figures(write_colours(tmp_path, "few", classes=5), photos)
    assert few["top5"] is None
    assert few["confusion"] is not None


def test_saving_puts_the_figures_onto_the_card(built: Path, photos: Path, tmp_path: Path) -> None:
    """Evaluation and speed are on the card, every hash holds again, and no other entry has changed."""
    path = shutil.copytree(built.parent, tmp_path / "copy") / built.name
    before = entries(path)
    assert run(path, photos, "--save", "--data-name", "four photos").exit_code == 0
    found = inspect(path)
    assert (found.intact, found.listed) == (True, "matches")
    card = found.signature["card"]
    assert card["licence"] == "CC0"
    evaluation = card["evaluation"]
    assert (evaluation["data"], evaluation["images"], evaluation["top1"]) == ("four photos", 8, 0.625)
    assert evaluation["top1_interval_95"] == pytest.approx([0.3057, 0.8632], abs=1e-4)
    assert evaluation["without_answer"] == 1
    assert card["speed"]["images_per_second"] > 0
    assert (card["speed"]["device"], card["speed"]["threads"]) == ("cpu", 1)
    assert card["speed"]["torch"] == torch.__version__
    after = entries(path)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"signature.json", "SHA256SUMS"}
    with ServedArchive(path) as served:
        assert served.run([picture("red")]).failures == {}


def test_a_card_is_written_the_same_way_every_time(built: Path, tmp_path: Path) -> None:
    """The same additions give the same bytes, and none gives the archive as it was built."""
    first, second = (shutil.copytree(built.parent, tmp_path / name) / built.name for name in "ab")
    digest = inspect(built).sha256
    for path in (first, second):
        write_card(path, {"evaluation": {"top1": 0.5}}, sha256_before=digest)
    assert first.read_bytes() == second.read_bytes() != built.read_bytes()
    write_card(second, {"evaluation": {"top1": 0.25}}, sha256_before=inspect(second).sha256)
    assert inspect(second).signature["card"]["evaluation"] == {"top1": 0.25}
    third = shutil.copytree(built.parent, tmp_path / "c") / built.name
    write_card(third, {}, sha256_before=digest)
    assert third.read_bytes() == built.read_bytes()


def test_a_card_is_only_put_onto_what_was_measured(built: Path, tmp_path: Path) -> None:
    """An archive that was replaced meanwhile keeps its own card; NaN is refused."""
    path = shutil.copytree(built.parent, tmp_path / "a") / built.name
    with pytest.raises(ArchiveError, match="was changed by someone else; its card is left as it is"):
        write_card(path, {"evaluation": {}}, sha256_before="0" * 64)
    with pytest.raises(InputError, match="card: must hold plain values"):
        write_card(path, {"evaluation": float("nan")}, sha256_before=inspect(path).sha256)
    assert path.read_bytes() == built.read_bytes()


def test_wrong_input_is_answered_in_one_line(built: Path, photos: Path, tmp_path: Path) -> None:
    """Exit code 2 for what the caller can change, 1 for an archive that is not what it says."""
    (tmp_path / "data" / "pink").mkdir(parents=True)
    (tmp_path / "data" / "pink" / "1.png").write_bytes(b"")
    damaged = tmp_path / "x.mar"
    damaged.write_bytes(b"no zip")
    (tmp_path / "none" / "red").mkdir(parents=True)
    (tmp_path / "none" / "red" / "1.png").write_bytes(b"")
    cases = [
        ((built, tmp_path / "data"), 2, "'pink' is none of the archive's 8 labels"),
        ((built, tmp_path / "none"), 2, "none of the 1 images got an answer; the first, "),
        ((tmp_path / "no.mar", photos), 2, "archive: cannot read"),
        ((damaged, photos), 1, "archive: cannot read"),
        ((built, photos, "--gpu", 4711), 2, "gpu: 4711 must be the number of a CUDA device"),
        ((built, photos, "--errors", damaged / "x.csv"), 2, "errors: cannot write"),
        ((built, photos, "--errors", tmp_path), 2, "errors: must be a file, but"),
    ]
    for arguments, code, message in cases:
        result = run(*arguments)
        assert not result.stdout  # what cannot be done is said before the work
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert message in result.stderr


@pytest.mark.timeout(600)  # the demo is built by whichever test needs it first
@pytest.mark.parametrize("model", ["digits_plain", "digits_se"])
def test_the_demos_accuracy_is_the_one_on_its_card(model: str, tmp_path: Path) -> None:
    """PNG files of the held-out digits give exactly the accuracy, interval and confusion of the training."""
    archive = build_demo().archives / f"{model}.mar"
    held_out = digits.load_split().held_out
    for number, (pixels, digit) in enumerate(zip(held_out.pixels, held_out.labels, strict=True)):
        path = tmp_path / str(digit) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    found = figures(archive, tmp_path, "--batch", 64)
    card = inspect(archive).signature["card"]
    assert found["top1"]["value"] == card["accuracy"]
    assert found["top1"]["interval_95"] == card["accuracy_interval_95"]
    assert found["confusion"] == card["confusion"]
    assert found["images"] == 540


def test_a_matrix_that_does_not_fit_a_terminal_is_left_to_json(built: Path, photos: Path) -> None:
    """Eight colours' names need more than 60 columns, and fit into 100."""
    with ServedArchive(built) as served:
        found = evaluate(served, read_dataset(photos, served.labels), data="x")
    pages = {}
    for width in (60, 100):
        terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        with terminal.capture() as captured:
            show_evaluation(terminal, found)
        pages[width] = captured.get()
    assert "too wide for 60 columns" in pages[60]
    assert "true \\ given" not in pages[60]
    assert "true \\ given" in pages[100]
