"""What all commands share: options, exit codes, and how they say what they found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serve.client import AddressError, ClientError, UnreachableError
from serve.config import ConfigError
from serve.terminal.files import InputError

FAILED, WRONG, UNREACHABLE = 1, 2, 3
_EXIT_CODES: Mapping[type[Exception], int] = {
    ConfigError: WRONG,
    InputError: WRONG,
    FileNotFoundError: WRONG,
    AddressError: WRONG,
    UnreachableError: UNREACHABLE,
    ClientError: FAILED,
}

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

CaOption = Annotated[
    Path | None, typer.Option("--ca", help="PEM: whom to trust, for TLS.", metavar="FILE", show_default=False)
]
CertOption = Annotated[
    Path | None,
    typer.Option("--cert", help="PEM: certificate to show, for TLS.", metavar="FILE", show_default=False),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="PEM: its key, unless it is in --cert.", metavar="FILE", show_default=False),
]
TokenOption = Annotated[
    str, typer.Option("--token", envvar="ATTNSERVE_TOKEN", help="Bearer token.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


@contextmanager
def told_briefly() -> Iterator[None]:
    """Turn what is expected to fail into a line and an exit code; a bug keeps its traceback."""
    try:
        yield
    except tuple(_EXIT_CODES) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_EXIT_CODES[type(error)]) from None


def print_json(document: object) -> None:
    """Write JSON for machines."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
