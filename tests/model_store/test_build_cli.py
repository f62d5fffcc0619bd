"""`attnserve build`, `inspect` and `zoo`: what works, and what each mistake is answered with."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from model_store import checkpoint, zoo
from model_store.build import build_demo
from model_store.cli import app
from model_store.inspect_archive import inspect
from model_store.listing import MACS, count_macs

SCHEMA = json.loads((Path(__file__).parents[1] / "contract" / "signature.schema.json").read_text())
INPUT = {
    "size": [16, 16],
    "resize": {"method": "stretch", "size": [16, 16], "interpolation": "bilinear"},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def build_untrained(folder: Path, *more: str) -> Path:
    """Build digits_se with random weights."""
    result = run("build", "--arch", "digits_se", "--untrained", "--output", folder, *more)
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip())


class Means(nn.Module):
    """A user's net: three logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class FixedBatch(nn.Module):
    """Takes two images and no other number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(2, 3, 256).mean(dim=2)


class Pair(nn.Module):
    """Gives two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Halves(nn.Module):
    """Gives half precision."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)).half()


class Noisy(nn.Module):
    """Gives something else each time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) + torch.rand(x.shape[0], 3)


def user_files(folder: Path, net: nn.Module, **changes: object) -> tuple[Path, Path]:
    """A TorchScript file and its description; a change to None takes the key out."""
    description = {"name": "mine", "labels": ["a", "b", 3], "input": INPUT, **changes}
    document = {key: value for key, value in description.items() if value is not None}
    script, signature = folder / "net.pt", folder / "net.yaml"
    torch.jit.save(torch.jit.script(net), script)
    signature.write_text(yaml.safe_dump(document))
    return script, signature


def build_user_net(folder: Path, net: nn.Module, **changes: object) -> Result:
    """Package a user's net."""
    script, signature = user_files(folder, net, **changes)
    return run("build", "--torchscript", script, "--signature", signature, "--output", folder / "out")


def test_an_untrained_net_is_marked_so(tmp_path: Path) -> None:
    """The archive is sound, follows the schema, and says that its weights are random."""
    found = inspect(build_untrained(tmp_path))
    assert found.intact
    assert found.listed == "matches"
    assert found.signature["trained"] is False
    assert found.signature["card"]["parameters"] == zoo.get("digits_se").parameters
    assert found.signature["card"]["macs"] == MACS["digits_se"]
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
        (lambda it: it["state_dict"].clear(), "missing: bn1.bias, "),
        (lambda it: it.update(card=Means()), "must be a torch.save file of tensors and plain values"),
    ],
    ids=["format", "no card", "other net", "missing", "unexpected", "shape", "empty", "code"],
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


def test_a_user_s_net_travels_unchanged(tmp_path: Path) -> None:
    """Its bytes are the file's, it is tried on random inputs, and unquoted labels become text."""
    result = build_user_net(tmp_path, Means().eval(), version=2)
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    assert path.name == "mine-v2.mar"
    found = inspect(path)
    assert found.intact
    assert found.signature["labels"] == ["a", "b", "3"]
    assert found.signature["architecture"] == "torchscript"
    assert found.signature["attention"] == "unknown"
    assert (found.signature["parity"]["form"], found.signature["parity"]["samples"]) == ("given", "random")
    assert not list(Draft202012Validator(SCHEMA).iter_errors(found.signature))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("model.pt") == (tmp_path / "net.pt").read_bytes()


@pytest.mark.parametrize(
    ("net", "changes", "message"),
    [
        (Means().train(), {}, "in training mode; call .eval()"),
        (FixedBatch().eval(), {}, "refuses an FP32 input [1, 3, 16, 16]"),
        (Pair().eval(), {}, "must give logits [1, 3] as one tensor, got tuple"),
        (nn.Identity().eval(), {}, "must give logits [1, 3] as one tensor, got [1, 3, 16, 16]"),
        (Halves().eval(), {}, "logits must be torch.float32, got torch.float16"),
        (Means().eval(), {"labels": ["a", "b"]}, "labels: 2 given, but the net has 3 classes"),
        (Means().eval(), {"labels": None}, "labels: this key is required"),
        (Means().eval(), {"name": "No Good"}, "name: 'No Good' must match"),
        (Means().eval(), {"lables": ["a"]}, "lables: unknown key; did you mean 'labels'?"),
        (Means().eval(), {"input": {**INPUT, "meen": 1}}, "input.meen: unknown key; did you mean 'mean'?"),
        (Means().eval(), {"input": {**INPUT, "size": [16, "x"]}}, "input.size.1: "),
        (Means().eval(), {"input": {**INPUT, "std": [1, 1, 0]}}, "input.std: [1.0, 1.0, 0.0] must be"),
    ],
    ids=[
        "training", "fixed batch", "tuple", "image", "half", "two labels", "no labels", "name", "key",
        "inner key", "type", "std",
    ],
)  # fmt: skip
def test_a_wrong_user_net_is_refused(
    tmp_path: Path, net: nn.Module, changes: dict[str, Any], message: str
) -> None:
    """One line says what is wrong with the net or its description; nothing is written."""
    result = build_user_net(tmp_path, net, **changes)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_net_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """It was tried and failed: exit code 1, with the figure."""
    result = build_user_net(tmp_path, Noisy().eval())
    assert result.exit_code == 1
    assert "two runs on the same input differ by" in result.stderr


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


@pytest.mark.parametrize("content", [None, b"no zip", b""], ids=["missing", "text", "empty"])
def test_inspect_refuses_what_is_no_archive(tmp_path: Path, content: bytes | None) -> None:
    """One line and exit code 1."""
    path = tmp_path / "x.mar"
    if content is not None:
        path.write_bytes(content)
    result = run("inspect", path)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: archive: cannot read")
    assert result.stderr.count("\n") == 1


def test_inspect_refuses_a_foreign_archive(tmp_path: Path) -> None:
    """A .mar of someone else has no list of sums."""
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    result = run("inspect", tmp_path / "x.mar")
    assert result.exit_code == 1
    assert "lacks SHA256SUMS" in result.stderr


def test_the_zoo_is_listed_for_machines() -> None:
    """Every row has the keys of the contract."""
    rows = json.loads(run("zoo", "--json").stdout)
    assert [row["name"] for row in rows] == list(zoo.TABLE)
    keys = [
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
    assert all(list(row) == keys for row in rows)
    (se_resnet50,) = (row for row in rows if row["name"] == "se_resnet50")
    assert se_resnet50["parameters"] == 28_088_024
    assert se_resnet50["input_size"] == [224, 224]


def test_the_zoo_is_listed_for_people() -> None:
    """One line for each net, after the head."""
    lines = run("zoo").stdout.splitlines()
    assert lines[0].split()[:3] == ["name", "family", "attention"]
    assert [line.split()[0] for line in lines[1:] if line] == list(zoo.TABLE)


@pytest.mark.parametrize("name", ["digits_sk", "resnet18", "se_resnet50", "eca_resnet18_k3577"])
def test_the_written_multiply_adds_are_those_of_the_net(name: str) -> None:
    """What the list says is what counting says."""
    assert MACS[name] == count_macs(zoo.get(name))


@pytest.mark.slow
def test_every_net_s_multiply_adds_are_written_down() -> None:
    """No row is missing and none is out of date."""
    assert dict(MACS) == {row.name: count_macs(row) for row in zoo.TABLE.values()}


def test_help_does_not_wait_for_torch() -> None:
    """Importing the commands imports neither torch nor scikit-learn."""
    code = "import sys, model_store.cli; print(sorted({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_commands_run_alone() -> None:
    """`python -m model_store.cli` offers the three."""
    command = [sys.executable, "-m", "model_store.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert all(name in done.stdout for name in ("zoo", "build", "inspect"))
