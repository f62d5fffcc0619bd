"""What the foundry's commands have in common.

Exit codes: 0 done, 1 it was tried and failed, 2 what was asked for is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import typer

from model_store.errors import BuildError, InputError

FAILED, WRONG = 1, 2
ARCHIVES: Final = Path("model_store/archives")

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]

_EXTRA: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PIL": "foundry",
        "matplotlib": "report",
        "numpy": "foundry",
        "safetensors": "foundry",
        "sklearn": "foundry",
        "timm": "timm",
        "torch": "foundry",
        "torchvision": "timm",
        "yaml": "foundry",
    }
)
"""What may be missing where a command runs -> the extra that brings it."""


@contextmanager
def told_briefly() -> Iterator[None]:
    """Turn what is expected to fail into one line and an exit code; a bug keeps its traceback."""
    try:
        yield
    except (BuildError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG if isinstance(error, InputError) else FAILED) from None
    except ModuleNotFoundError as error:
        extra = _EXTRA.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        typer.echo(f"error: this needs {error.name}: pip install 'attnserve[{extra}]'", err=True)
        raise typer.Exit(FAILED) from None
