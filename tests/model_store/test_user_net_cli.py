"""`attnserve build --torchscript`: a user's own net, and what each mistake is answered with."""

import json
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from model_store.cli import app
from model_store.inspect_archive import inspect

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


def test_options_win_over_the_description(tmp_path: Path) -> None:
    """The description's precision on CUDA is taken unless the command names another."""
    script, signature = user_files(tmp_path, Means().eval(), cuda_dtype="float16")
    command = ("build", "--torchscript", script, "--signature", signature, "--output", tmp_path)
    for more, expected in (((), "float16"), (("--cuda-dtype", "bfloat16"), "bfloat16")):
        result = run(*command, *more)
        assert result.exit_code == 0, result.output
        assert inspect(Path(result.stdout.strip())).signature["dtype"]["cuda"] == expected


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
        (Means().eval(), {"card": {"made": date(2026, 1, 2)}}, "card: must hold plain values"),
        (Means().eval(), {"lables": ["a"]}, "lables: unknown key; did you mean 'labels'?"),
        (Means().eval(), {"input": {**INPUT, "meen": 1}}, "input.meen: unknown key; did you mean 'mean'?"),
        (Means().eval(), {"input": {**INPUT, "size": [16, "x"]}}, "input.size.1: "),
        (Means().eval(), {"input": {**INPUT, "std": [1, 1, 0]}}, "input.std: [1.0, 1.0, 0.0] must be"),
    ],
    ids=[
        "training", "fixed batch", "tuple", "image", "half", "two labels", "no labels", "name", "card", "key",
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
