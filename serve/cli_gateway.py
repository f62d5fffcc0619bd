"""What commands share that ask a gateway about experiments."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.cli_parts import (
    CaOption,
    CertOption,
    KeyOption,
    TokenOption,
    console,
    print_json,
    stderr,
    told_briefly,
)
from serve.client import ClientError, TlsFiles
from serve.experiment_client import ExperimentClient, Json, experiments_at
from serve.terminal.files import check_text
from serve.terminal.versions import moment, show_change

REST_URL = "http://127.0.0.1:8000"
# For a version to come into force, beyond the time that it names: clocks differ, and gateways poll.
PATIENCE_S = 15.0
_POLL_S = 0.1

NameArgument = Annotated[str, typer.Argument(help="The experiment.", metavar="NAME")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the version.")]
IfMatchOption = Annotated[
    int | None,
    typer.Option("--if-match", help="Refuse unless this is the newest version.", metavar="N", min=1),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is in force at this gateway.")]


def _connection(
    *,
    url: Annotated[
        str, typer.Option("--url", help="http://host:port of the gateway; https: TLS.")
    ] = REST_URL,
    token: TokenOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> tuple[str, str, TlsFiles]:
    return url, token, TlsFiles(ca=ca, certificate=cert, key=key)


def at_gateway(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is a client: it gets the options of one.

    What is expected to fail becomes a line and an exit code.
    """
    shared = inspect.signature(_connection, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def asked(**given: Any) -> None:  # noqa: ANN401  typer has checked them
        where = _connection(**{name: given.pop(name) for name in shared})
        with told_briefly():
            for name, value in given.items():
                for text in value if isinstance(value, list) else [value]:
                    check_text(name, str(text))
            with experiments_at(*where) as client:
                command(client, **given)

    del asked.__wrapped__  # typer would look at the inner function's parameters
    parameters = [*own, *shared.values()]
    asked.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    asked.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    return asked


def say_changed(client: ExperimentClient, experiment: Json, *, wait: bool, as_json: bool) -> None:
    """Say what came of a change, and wait for it if that is wanted.

    Raises:
        ClientError: It is not in force, long after the time that it names.
    """
    if as_json:
        print_json(experiment)
    else:
        show_change(console, experiment)
    if wait:
        _wait_for(client, experiment)


def _wait_for(client: ExperimentClient, experiment: Json) -> None:
    left = moment(experiment["effective_at"]) - time.time()
    end = time.monotonic() + max(0.0, left) + PATIENCE_S
    with stderr.status(f"waiting for version {experiment['version']} to be in force"):
        while client.assign(experiment["name"], "anybody")["version"] < experiment["version"]:
            if time.monotonic() > end:
                raise ClientError(
                    f"{experiment['name']}: version {experiment['version']} is not in force yet; does the"
                    " gateway reach its store?"
                )
            time.sleep(_POLL_S)


def writable(file: Path | None) -> Path | None:
    """See early that a file can be written: what goes into it may take long."""
    if file is not None and not file.parent.is_dir():
        raise typer.BadParameter(f"{file}: there is no folder {file.parent}")
    return file
