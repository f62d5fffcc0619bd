"""`attnserve build` with weights: what is said of them, what is on the card, and what is refused."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import Result

from model_store import checkpoint, zoo
from model_store.build import STEPS
from model_store.inspect_archive import inspect
from model_store.recipes import MEASURING
from tests.model_store.building import SCHEMA, packed, run


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
    x = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(packed(path)(x), net(x), rtol=1e-4, atol=1e-5)


def foreign_weights(folder: Path) -> tuple[nn.Module, Path, Path]:
    """A net of digits_se without biases, its weights under other names in safetensors, and labels."""
    torch.manual_seed(0)
    net = zoo.get("digits_se").build(10)
    for name, layer in net.named_modules():
        if name.endswith((".fc1", ".fc2")):
            layer.register_parameter("bias", None)
    weights = {key.replace("attention.gate", "my_se"): value for key, value in net.state_dict().items()}
    save_file(weights, folder / "best.safetensors")
    (folder / "labels.txt").write_text("\n".join("abcdefghij"))
    return net.eval(), folder / "best.safetensors", folder / "labels.txt"


def test_weights_of_another_project_are_served(tmp_path: Path) -> None:
    """What they turned out to be is said, and is on the card with their source, licence and hash."""
    net, weights, labels = foreign_weights(tmp_path)
    (tmp_path / "input.yaml").write_text(
        "size: [24, 24]\nresize: {method: shorter_side, size: [28, 28], interpolation: bicubic}\n"
        "mean: [0.1, 0.2, 0.3]\nstd: [1, 1, 1]\n"
    )
    result = run(
        *("build", "--arch", "digits_se", "--checkpoint", weights, "--labels", labels, "--output", tmp_path),
        *("--weights-source", "my laboratory", "--licence", "CC-BY-4.0"),
        *("--preprocessing", tmp_path / "input.yaml"),
    )
    assert result.exit_code == 0, result.output
    assert "digits_se: weights in the layout generic (" in result.stderr
    assert "), form torch; biases no: digits_se\n" in result.stderr
    signature = inspect(tmp_path / "digits_se.mar").signature
    assert signature["card"]["weights"] == {
        "source": "my laboratory",
        "file": "best.safetensors",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "layout": "generic",
        "form": "torch",
        "settings": {"biases": "no"},
        "licence": "CC-BY-4.0",
    }
    assert signature["card"]["parameters"] == sum(value.numel() for value in net.parameters())
    assert signature["input"] == {
        "size": [24, 24],
        "resize": {"method": "shorter_side", "size": [28, 28], "interpolation": "bicubic"},
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 1.0, 1.0],
    }
    assert not list(SCHEMA.iter_errors(signature))
    x = torch.randn(3, 3, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(packed(tmp_path / "digits_se.mar")(x), net(x), rtol=1e-4, atol=1e-5)


def test_a_terminal_shows_a_bar_with_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends full; standard output has the archive's path alone there, too."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take any stream for a terminal
    monkeypatch.setenv("COLUMNS", "200")
    _, weights, labels = foreign_weights(tmp_path)
    arguments = ("--checkpoint", weights, "--labels", labels, "--recipes", "cpu-bf16", "--output", tmp_path)
    result = run("build", "--arch", "digits_se", *arguments)
    assert result.stdout == f"{tmp_path / 'digits_se.mar'}\n"
    # Recipes that are asked for by name are not measured.
    assert all(f"digits_se: {step}" in result.stderr for step in STEPS if step != MEASURING)
    assert "weights in the layout generic" in result.stderr


MEASURE = """
import resource, sys, time
from model_store.cli import app
try:
    app()(sys.argv[1:])
finally:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(time.process_time(), kilobytes * 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # of a busy machine; the limit is on the processors' time
def test_a_resnet_50_is_built_within_its_limits(tmp_path: Path) -> None:
    """Two cores for less than a minute (so 120 s of processor time), and less than 2.5 GB."""
    torch.save(zoo.get("se_resnet50").build(3).state_dict(), tmp_path / "w.pth")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    arguments = ["build", "--arch", "se_resnet50", "--checkpoint", str(tmp_path / "w.pth"), "--form", "torch"]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    archive, figures = done.stdout.splitlines()
    seconds, size = map(float, figures.split())
    assert inspect(Path(archive)).intact
    assert seconds < 120
    assert size < 2.5e9


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
        (lambda it: it.pop("card"), "lacks the key 'card'"),
        (
            lambda it: it.update(architecture="digits_sk"),
            "holds 'digits_sk', but the architecture asked for is",
        ),
        (lambda it: it["state_dict"].pop("fc.bias"), "do not fit the architecture; 1 missing: fc.bias"),
        (lambda it: it["state_dict"].update(more=torch.ones(1)), "1 unexpected: more"),
        (
            lambda it: it["state_dict"].update({"fc.bias": torch.ones(3)}),
            "1 of another shape: fc.bias: expected [10], found [3]",
        ),
        (lambda it: it.update(state_dict=[1]), "state_dict: must be a dict of names and tensors, got list"),
        (
            lambda it: it["state_dict"].update(more=1),
            "state_dict['more']: must be a tensor with a name, got int",
        ),
        (lambda it: it.update(card={"a": torch.ones(1)}), "card: must hold plain values that JSON knows"),
        (lambda it: it.update(card=[]), "card: must map names to plain values, got list"),
        (lambda it: it["state_dict"].clear(), "must hold weights, found none"),
        (
            lambda it: it.update(card=nn.Identity()),
            "save the weights alone: torch.save(net.state_dict(), FILE)",
        ),
    ],
    ids=[
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
    """The last line says what does not fit; nothing is written, and nothing of the file is executed."""
    result = bad_checkpoint(tmp_path, change)
    assert result.exit_code == 2, result.output
    *steps, error = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert set(steps) <= {"digits_se: reading weights", "digits_se: building the net"}
    assert not (tmp_path / "out").exists()
