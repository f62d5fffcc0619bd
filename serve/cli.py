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
import shutil
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from serve import classify as classifying
from serve import cli_alias, cli_experiment, logs, model_list
from serve.classify import find_images
from serve.cli_parts import (
    FAILED,
    CaOption,
    CertOption,
    JsonOption,
    KeyOption,
    TokenOption,
    console,
    print_json,
    stderr,
    told_briefly,
)
from serve.client import TlsFiles, connected
from serve.config import read_config

GRPC_URL = "grpc://127.0.0.1:8001"

app = typer.Typer(
    name="attnserve",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Serve image classifiers with channel attention, and compare them on live traffic.",
    epilog="Start with: attnserve build --demo, then attnserve serve.",
)
app.add_typer(cli_experiment.app)
app.add_typer(cli_alias.app)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; ATTNSERVE_* variables override it.", metavar="FILE"),
]
UrlOption = Annotated[
    str, typer.Option("--url", help="grpc://host:port or http://host:port of the gateway; grpcs, https: TLS.")
]


@app.command()
def serve(
    config: ConfigOption = None,
    check_config: Annotated[bool, typer.Option("--check-config", help="Validate and exit.")] = False,
    tour: Annotated[
        Path | None,
        typer.Option(
            "--tour", help="When ready, classify these images (LABEL-N.png) and show it.", metavar="DIR"
        ),
    ] = None,
    token: TokenOption = "",
) -> None:
    """Start the gateway, and a TorchServe beside it unless the configuration lists engines.

    Example: attnserve serve --config gateway.yaml
    """
    # Imported here so that `attnserve --help` is quick.
    from serve.trust import check  # noqa: PLC0415

    with told_briefly():
        settings = read_config(config, os.environ)
        check(settings)
        images = find_images([tour]) if tour else []
        settings = settings.showing(tour) if tour else settings
    if check_config:
        typer.echo(f"{config or 'the configuration'} is valid")
        return
    # Imported here so that `attnserve --help` is quick.
    from serve.run import run  # noqa: PLC0415
    from serve.tour import Route, show_tour  # noqa: PLC0415

    logs.configure(settings.log_level, settings.log_format)
    route = Route(
        images=tuple(images),
        run_dir=settings.run_dir,
        program=_program(),
        token=token,
        ca=settings.tls.certificate,
    )
    raise typer.Exit(run(settings, show_tour(console, route) if images else None, stderr))


@app.command()
def classify(  # noqa: PLR0913  each is an option of the command line
    images: Annotated[list[Path], typer.Argument(help="Files, or folders of images.", metavar="IMAGE...")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Repeat for several; default: all ready.")
    ] = None,
    url: UrlOption = GRPC_URL,
    *,
    token: TokenOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images through a running gateway; many at once, one bad file fails alone.

    Example: attnserve classify run/samples --model digits_se
    """

    async def ask() -> list[classifying.Row]:
        async with connected(url, token, TlsFiles(ca=ca, certificate=cert, key=key)) as client:
            return await classifying.classify(client, files, model or (), stderr)

    with told_briefly():
        files = find_images(images)
        rows = asyncio.run(ask())
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        classifying.show(console, rows)
    raise typer.Exit(FAILED if any(row.error for row in rows) else 0)


@app.command()
def models(
    url: UrlOption = GRPC_URL,
    *,
    token: TokenOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a running gateway serves.

    Example: attnserve models --url http://127.0.0.1:8000
    """

    async def ask() -> list[model_list.ListedModel]:
        async with connected(url, token, TlsFiles(ca=ca, certificate=cert, key=key)) as client:
            return await model_list.list_models(client)

    with told_briefly():
        found = asyncio.run(ask())
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        model_list.show(console, found)


def _not_empty(value: str) -> str:
    if not value:
        raise typer.BadParameter("must not be empty")
    return value


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Who will use it.", callback=_not_empty)],
    role: Annotated[Literal["infer", "operate", "admin"], typer.Option(help="What it allows.")] = "infer",
    days: Annotated[
        int | None, typer.Option(help="It expires so many days from now; default: never.", min=1, max=36_500)
    ] = None,
) -> None:
    """Make a bearer token: the secret for the caller, and the line for the configuration.

    Example: attnserve token ci --role operate --days 90
    """
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    typer.echo("secret, shown only now (give it to the caller):", err=True)
    typer.echo(secret)
    typer.echo("for the configuration, under `tokens:`", err=True)
    # A JSON string is a YAML string, whatever the name holds.
    expires = f", expires: {datetime.now(UTC).date() + timedelta(days)}" if days else ""
    typer.echo(f"- {{name: {json.dumps(name)}, role: {role}, sha256: {digest}{expires}}}")


@app.command()
def doctor(
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings, too, give exit code 1.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Name every unsafe or broken setting and problem of this machine, and what to do; changes nothing.

    Exit code 0: no errors; 1: at least one.

    Example: attnserve doctor --config gateway.yaml --strict
    """
    from serve import doctor as doctoring  # noqa: PLC0415  so that `attnserve --help` is quick

    logs.configure("error", "console")
    with stderr.status("looking at settings, archives and this machine"):
        told = doctoring.examine(config, os.environ)
    if as_json:
        print_json(doctoring.as_documents(told))
    else:
        doctoring.show(console, told)
    raise typer.Exit(doctoring.exit_code(told, strict=strict))


def _show_version(value: bool) -> None:
    if value:
        typer.echo(version("attnserve"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _program() -> str:
    """How this program was called: by its name where PATH finds it, else by its path."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    return called.name if found and Path(found).samefile(called) else str(called)


def main() -> None:
    """Run the command line."""
    for point in entry_points(group="attnserve.commands"):
        app.command(name=point.name)(point.load())
    app()
