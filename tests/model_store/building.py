"""What the tests of `attnserve build` share."""

import json
import zipfile
from pathlib import Path

import torch
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from model_store.cli import app

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[1] / "contract" / "signature.schema.json").read_text())
)
"""Of signature.json."""


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def packed(path: Path) -> torch.jit.ScriptModule:
    """The net inside an archive."""
    with zipfile.ZipFile(path) as archive, archive.open("model.pt") as file:
        net: torch.jit.ScriptModule = torch.jit.load(file)  # type: ignore[no-untyped-call] # torch's lack
    return net
