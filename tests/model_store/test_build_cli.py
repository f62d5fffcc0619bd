"""`attnserve build` of the demo and of zoo nets: what works, and what each mistake is answered with."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from torch import nn
from typer.testing import CliRunner, Result

from handlers.attn_decode import ImageLimits
from model_store import checkpoint, zoo
from model_store.build import build_demo
from model_store.cli import app
from model_store.inspect_archive import inspect

SCHEMA = json.loads((Path(__file__).parents[1] / "contract" / "signature.schema.json").read_text())


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


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
    assert not list(Draft202012Validator(SCHEMA).iter_errors(found.signature))


def test_building_twice_gives_the_same_file(tmp_path: Path) -> None:
    """The same input gives the same sha256, wherever it is written."""
    first, second = build_untrained(tmp_path / "one"), build_untrained(tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_name_version_and_labels_are_taken(tmp_path: Path) -> None:
    """The file is named after both, and the net has one logit for each label."""
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\r\ndog\r\nümlaut\n\n")
    path = build_untrained(tmp_path, "--name", "pets", "--version", "7", "--labels", str(labels))
    assert path.name == "pets-v7.mar"
    assert inspect(path).signature["labels"] == ["cat", "dog", "ümlaut"]


def test_each_step_is_told_in_a_line(tmp_path: Path) -> None:
    """Where there is no terminal to show a spinner on; standard output has the archive's path alone."""
    result = run("build", "--arch", "digits_se", "--untrained", "--output", tmp_path)
    assert result.stdout == f"{tmp_path / 'digits_se.mar'}\n"
    assert result.stderr.splitlines() == [
        "digits_se: building the net",
        "digits_se: turning it into TorchScript and proving that this computes the same",
        "digits_se: packing",
    ]


def test_options_reach_the_archive(tmp_path: Path) -> None:
    """What the handler reads is what was asked for: precision on CUDA, limits of images, patience."""
    numbers = ("--max-image-bytes", "1000", "--max-image-pixels", "2000", "--response-timeout-s", "7")
    path = build_untrained(tmp_path, "--cuda-dtype", "bfloat16", *numbers)
    with zipfile.ZipFile(path) as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
    assert config["responseTimeout"] == 7
    assert ImageLimits.of_config(config) == ImageLimits(max_image_bytes=1000, max_image_pixels=2000)
    assert inspect(path).signature["dtype"] == {"cpu": "float32", "cuda": "bfloat16"}


def test_a_checkpoint_s_weights_are_served(tmp_path: Path) -> None:
    """The packed net computes what the net of the checkpoint computes, and its card goes along."""
    net = zoo.get("digits_eca").build(10).eval()
    kept = checkpoint.Checkpoint(
        architecture="digits_eca", state_dict=net.state_dict(), card={"note": "mine"}
    )
    checkpoint.save(tmp_path / "w.pt", kept)
    (tmp_path / "labels.txt").write_text("\n".join("abcdefghij"))
    arguments = ("--checkpoint", tmp_path / "w.pt", "--labels", tmp_path / "labels.txt", "--output", tmp_path)
    result = run("build", "--arch", "digits_eca", *arguments)
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    assert inspect(path).signature["card"]["note"] == "mine"
    assert inspect(path).signature["trained"] is True
    with zipfile.ZipFile(path) as archive, archive.open("model.pt") as file:
        packed = torch.jit.load(file)  # type: ignore[no-untyped-call] # torch's lack
    x = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), net(x), rtol=1e-4, atol=1e-5)


def bad_checkpoint(folder: Path, change: Callable[[dict[str, Any]], object]) -> Result:
    """Build from a checkpoint of digits_se that `change` has spoilt."""
    net = zoo.get("digits_se").build(10)
    weights = dict(net.state_dict())
    document = {"format": "attnserve/1", "architecture": "digits_se", "state_dict": weights, "card": {}}
    change(document)
    torch.save(document, folder / "w.pt")
    (folder / "labels.txt").write_text("\n".join("abcdefghij"))
    arguments = (
        "--checkpoint",
        folder / "w.pt",
        "--labels",
        folder / "labels.txt",
        "--output",
        folder / "out",
    )
    return run("build", "--arch", "digits_se", *arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.update(format="other"), "with format 'attnserve/1', found 'other'"),
        (lambda it: it.pop("card"), "lacks the key 'card'"),
        (
            lambda it: it.update(architecture="digits_sk"),
            "holds 'digits_sk', but the architecture asked for is",
        ),
        (lambda it: it["state_dict"].pop("fc.bias"), "do not fit the architecture; 1 missing: fc.bias"),
        (lambda it: it["state_dict"].update(more=torch.ones(1)), "1 unexpected: more"),
        (
            lambda it: it["state_dict"].update({"fc.bias": torch.ones(3)}),
            "1 of another shape: fc.bias [3] for [10]",
        ),
        (lambda it: it.update(state_dict=[1]), "state_dict: must be a dict of names and tensors, got list"),
        (
            lambda it: it["state_dict"].update(more=1),
            "state_dict['more']: must be a tensor with a name, got int",
        ),
        (lambda it: it.update(card={"a": torch.ones(1)}), "card: must hold plain values that JSON knows"),
        (lambda it: it.update(card=[]), "card: must map names to plain values, got list"),
        (lambda it: it["state_dict"].clear(), "missing: bn1.bias, "),
        (lambda it: it.update(card=nn.Identity()), "must be a torch.save file of tensors and plain values"),
    ],
    ids=[
        "format",
        "no card",
        "other net",
        "missing",
        "unexpected",
        "shape",
        "list",
        "no tensor",
        "tensor",
        "no card dict",
        "empty",
        "code",
    ],
)
def test_a_wrong_checkpoint_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """One line says what does not fit; nothing is written, and nothing of the file is executed."""
    result = bad_checkpoint(tmp_path, change)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give exactly one of --demo, --arch, --torchscript; got none"),
        (["--demo", "--arch", "resnet18"], "got --demo and --arch"),
        (["--demo", "--labels", "x", "--untrained"], "--labels, --untrained cannot be combined with --demo"),
        (["--arch", "digits_se"], "--arch needs exactly one of --checkpoint, --untrained"),
        (
            ["--arch", "digits_se", "--untrained", "--checkpoint", "x"],
            "exactly one of --checkpoint, --untrained",
        ),
        (["--arch", "digits_se", "--checkpoint", "x"], "--labels is required with --checkpoint"),
        (["--arch", "digits_see", "--untrained"], "digits_se"),
        (["--arch", "digits_se", "--untrained", "--labels", "nowhere.txt"], "cannot read 'nowhere.txt'"),
        (["--arch", "digits_se", "--untrained", "--version", "0"], "version: '0' must be"),
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
    checkpoint.load_weights(zoo.get("digits_plain").build(10), kept.state_dict)
    assert kept.card["accuracy"] >= 0.975
