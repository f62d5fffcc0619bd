"""`attnserve build` of the demo and of zoo nets: what works, and what each mistake is answered with."""

import zipfile
from pathlib import Path

import pytest
import yaml

from handlers.attn_decode import ImageLimits
from handlers.attn_options import Options
from model_store import checkpoint, zoo
from model_store.demo import build_demo
from model_store.inspect_archive import inspect
from tests.model_store.building import SCHEMA, run


def build_untrained(folder: Path, *more: str) -> Path:
    """Build digits_se with random weights."""
    result = run("build", "--arch", "digits_se", "--untrained", "--output", folder, *more)
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip())


def test_an_untrained_net_is_marked_so(tmp_path: Path) -> None:
    """The archive is sound, follows the schema, and says that its weights are random."""
    found = inspect(build_untrained(tmp_path))
    assert found.intact
    assert found.listed == "matches"
    assert found.signature["trained"] is False
    assert found.signature["card"]["parameters"] == zoo.get("digits_se").parameters
    assert found.signature["card"]["macs"] == zoo.get("digits_se").macs
    assert found.signature["threads"] == 1
    assert not list(SCHEMA.iter_errors(found.signature))


def test_building_twice_gives_the_same_file(tmp_path: Path) -> None:
    """The same input gives the same sha256, wherever it is written."""
    first, second = build_untrained(tmp_path / "one"), build_untrained(tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_name_version_and_labels_are_taken(tmp_path: Path) -> None:
    """The file is named after both, and the net has one logit for each label."""
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffcat\r\ndog\r\nümlaut\n\n", encoding="utf-8")
    path = build_untrained(tmp_path, "--name", "pets", "--version", "7", "--labels", str(labels))
    assert path.name == "pets-v7.mar"
    assert inspect(path).signature["labels"] == ["cat", "dog", "ümlaut"]


def test_each_step_is_told_in_a_line(tmp_path: Path) -> None:
    """Where there is no terminal to show a spinner on; standard output has the archive's path alone."""
    result = run("build", "--arch", "digits_se", "--untrained", "--output", tmp_path)
    assert result.stdout == f"{tmp_path / 'digits_se.mar'}\n"
    assert result.stderr.splitlines() == [
        "digits_se: building the net",
        "digits_se: to TorchScript, proving it computes the same",
        "digits_se: packing",
    ]


def test_options_reach_the_archive(tmp_path: Path) -> None:
    """What the handler reads is what was asked for: precision on CUDA, limits of images, patience."""
    numbers = ("--max-image-bytes", "1000", "--max-image-pixels", "2000", "--response-timeout-s", "7")
    path = build_untrained(tmp_path, "--cuda-dtype", "bfloat16", "--decoder", "simplejpeg", *numbers)
    with zipfile.ZipFile(path) as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
    assert config["responseTimeout"] == 7
    limits = ImageLimits(max_image_bytes=1000, max_image_pixels=2000)
    assert Options.of_config(config) == Options(limits=limits, decoder="simplejpeg")
    assert inspect(path).signature["dtype"] == {"cpu": "float32", "cuda": "bfloat16"}


@pytest.mark.parametrize(("classes", "given"), [(10, True), (9, False)])
def test_published_accuracies_are_on_the_card(tmp_path: Path, classes: int, given: bool) -> None:
    """With their source; not where the net tells other classes apart than theirs did."""
    (tmp_path / "labels.txt").write_text("\n".join("abcdefghij"[:classes]))
    arguments = ("--untrained", "--labels", tmp_path / "labels.txt", "--output", tmp_path)
    result = run("build", "--arch", "resnet20", *arguments)
    assert result.exit_code == 0, result.output
    card = inspect(tmp_path / "resnet20.mar").signature["card"]
    assert ("published" in card) == given
    if given:
        assert card["published"][0]["top1"] == 91.25  # He et al., table 6: an error of 8.75 per cent
        assert "table 6" in card["published"][0]["source"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give exactly one of --demo, --arch, --timm, --torchscript; got none"),
        (["--demo", "--arch", "resnet18"], "got --demo and --arch"),
        (["--demo", "--labels", "x", "--untrained"], "--labels, --untrained cannot be combined with --demo"),
        (["--arch", "digits_se"], "--arch needs exactly one of --checkpoint, --untrained"),
        (
            ["--arch", "digits_se", "--untrained", "--checkpoint", "x"],
            "exactly one of --checkpoint, --untrained",
        ),
        (["--arch", "digits_se", "--checkpoint", "x"], "--labels is required with --checkpoint"),
        (["--arch", "digits_see", "--untrained"], "digits_se"),
        (
            ["--arch", "digits_se", "--untrained", "--licence", "MIT", "--form", "caffe"],
            "--form, --licence needs --checkpoint",
        ),
        (
            ["--arch", "digits_se", "--untrained", "--preprocessing", "nowhere.yaml"],
            "preprocessing: cannot read 'nowhere.yaml'",
        ),
        (["--demo", "--form", "torch"], "--form cannot be combined with --demo"),
        (
            ["--arch", "digits_se", "--untrained", "--labels", "nowhere.txt"],
            "labels: cannot read 'nowhere.txt'",
        ),
        (["--arch", "digits_se", "--untrained", "--labels", "/dev/null"], "labels: 0 given, at least 2"),
        (["--arch", "digits_se", "--untrained", "--version", "0"], "version: '0' must be"),
        (["--arch", "digits_se", "--untrained", "--version", ""], "version: '' must be"),
        (["--arch", "digits_se", "--untrained", "--max-image-pixels", "0"], "max_image_pixels: 0 must be"),
        (["--torchscript", "x"], "--torchscript needs --signature"),
        (["--torchscript", "x", "--signature", "nowhere.yaml"], "signature: cannot read 'nowhere.yaml'"),
    ],
)
def test_a_wrong_command_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit code 2 and one line, no traceback; nothing is written."""
    result = run("build", "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    """A file where the archives' folder should be; not one step is told."""
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        result = run("build", "--arch", "digits_se", "--untrained", "--output", place)
        assert result.exit_code == 2
        assert result.stderr == (
            f"error: output: cannot write to {str(place)!r}: {str(tmp_path / 'file')!r} is no folder\n"
        )


STRETCHED = """
size: [16, 16]
resize: {method: stretch, size: [8, 8], interpolation: bilinear}
mean: [0, 0, 0]
std: [1, 1, 1]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: [16, 16]", "resize: this key is required"),
        ("sise: [16, 16]", "sise: unknown key; did you mean 'size'?"),
        ("- 1", "the document: "),
        ("size: [", "is neither JSON nor YAML"),
        (
            STRETCHED,
            "input.resize.size: [8, 8] must be input.size [16, 16] to stretch",
        ),
    ],
)
def test_a_wrong_preprocessing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One line names the key; nothing is built."""
    (tmp_path / "input.yaml").write_text(text)
    arguments = ("--preprocessing", tmp_path / "input.yaml", "--output", tmp_path / "out")
    result = run("build", "--arch", "digits_se", "--untrained", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # trains a net twice
def test_the_demo_is_kept_until_it_is_damaged(tmp_path: Path) -> None:
    """A second build trains nothing; a file that differs from its hash is trained anew."""
    names = ("digits_plain",)
    (path,) = build_demo(tmp_path, names=names, checkpoints=tmp_path / "weights")
    whole = path.read_bytes()
    build_demo(tmp_path, names=names)
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])
    build_demo(tmp_path, names=names)
    found = inspect(path)
    assert found.intact
    assert found.signature["trained"] is True
    assert found.signature["parity"]["samples"] == "real"
    assert found.signature["card"]["accuracy"] >= 0.975
    assert sum(map(sum, found.signature["card"]["confusion"])) == 540
    kept = checkpoint.load(tmp_path / "weights" / "digits_plain.pt")
    zoo.get("digits_plain").build(10).load_state_dict(kept.state_dict)
    assert kept.card["accuracy"] >= 0.975
