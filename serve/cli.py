"""The command line; sub-commands of the foundry join by the entry-point group `attnserve.commands`.

Exit codes: 0 done; 1 it was tried and something failed; 2 the command or the configuration is wrong;
3 the gateway cannot be reached.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from serve import classify as classifying
from serve import logs
from serve.client import ClientError, connect
from serve.config import Config, ConfigError, read_config

FAILED, WRONG, UNREACHABLE = 1, 2, 3

app = typer.Typer(
    name="attnserve",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Serve image classifiers with channel attention, and compare them on live traffic.",
    epilog="Start with: attnserve build --demo, then attnserve serve",
)
console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; ATTNSERVE_* variables override it.", metavar="FILE"),
]
UrlOption = Annotated[str, typer.Option("--url", help="grpc://host:port or http://host:port of the gateway.")]
TokenOption = Annotated[
    str, typer.Option("--token", envvar="ATTNSERVE_TOKEN", help="Bearer token.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


@app.command()
def serve(
    config: ConfigOption = None,
    check_config: Annotated[bool, typer.Option("--check-config", help="Validate and exit.")] = False,
    tour: Annotated[
        Path | None,
        typer.Option("--tour", help="When ready, classify the images of this folder and show it."),
    ] = None,
) -> None:
    """Start the gateway, and a TorchServe beside it unless the configuration lists engines.

    Example: attnserve serve --config gateway.yaml
    """
    settings = _config(config)
    if check_config:
        console.print(f"{config or 'the configuration'} is valid")
        return
    from serve.run import run  # noqa: PLC0415  keeps `attnserve --help` quick

    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(run(settings, tour, console, stderr))


@app.command()
def classify(
    images: Annotated[list[Path], typer.Argument(help="Files, or folders of images.", metavar="IMAGE...")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Repeat for several; default: all ready.")
    ] = None,
    url: UrlOption = "grpc://127.0.0.1:8001",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Classify images through a running gateway; many at once, one bad file fails alone.

    Example: attnserve classify run/samples --model digits_se
    """
    try:
        files = classifying.find_images(images)
        client = connect(url, token)
        rows = asyncio.run(classifying.classify(client, files, tuple(model or ()), stderr))
    except FileNotFoundError as error:
        _end(str(error), WRONG)
    except ClientError as error:
        _end(str(error), UNREACHABLE)
    classifying.show(rows, console, as_json=as_json)
    raise typer.Exit(FAILED if any(row.error for row in rows) else 0)


@app.command()
def models(
    url: UrlOption = "http://127.0.0.1:8000", token: TokenOption = "", as_json: JsonOption = False
) -> None:
    """List what a running gateway serves.

    Example: attnserve models --url http://127.0.0.1:8000
    """
    try:
        entries = asyncio.run(classifying.index(connect(url, token)))
    except ClientError as error:
        _end(str(error), UNREACHABLE)
    if as_json:
        console.print_json(json.dumps(entries))
        return
    table = Table("model", "version", "state", "reason")
    for entry in entries:
        table.add_row(entry["name"], entry["version"], entry["state"], entry["reason"])
    console.print(table)


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    role: Annotated[str, typer.Option(help="infer, operate or admin.")] = "infer",
) -> None:
    """Make a bearer token: the secret for the caller, and the line for the configuration.

    Example: attnserve token ci --role operate
    """
    if role not in ("infer", "operate", "admin"):
        _end(f"--role is {role!r}, expected infer, operate or admin", WRONG)
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    stderr.print("secret, shown only now (give it to the caller):")
    console.print(secret, soft_wrap=True)
    stderr.print("for the configuration, under `tokens:`")
    console.print(f"- {{name: {name}, role: {role}, sha256: {digest}}}", markup=False, soft_wrap=True)


def _show_version(value: bool) -> None:
    if value:
        console.print(version("attnserve"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _config(path: Path | None) -> Config:
    try:
        return read_config(path, os.environ)
    except ConfigError as error:
        _end(str(error), WRONG)


def _end(message: str, code: int) -> NoReturn:
    stderr.print(message, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    for point in entry_points(group="attnserve.commands"):
        app.command(name=point.name)(point.load())
    app()
