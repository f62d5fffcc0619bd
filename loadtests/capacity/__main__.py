"""Answers another question from the report of an earlier run: `python -m loadtests.capacity FOLDER`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loadtests.capacity.answer import again
from loadtests.capacity.autoscaling import Target
from loadtests.capacity.manifests import KINDS, Scaled, text_of, variant_of
from loadtests.capacity.service import CapacityError

_REPORT: Final = "report.json"


def read(path: Path) -> Mapping[str, Any]:
    """The answer in a report.

    Args:
        path: A report's JSON, or the folder in which it is.

    Raises:
        CapacityError: There is none.
    """
    file = path / _REPORT if path.is_dir() else path
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CapacityError(f"{file}: is no report: {error}") from error
    found = document.get("capacity") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise CapacityError(
            f"{file}: says nothing of the capacity; the scenario 'capacity' makes such a report"
        )
    return found


def main(  # noqa: PLR0913  each is an option of the command line
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or the folder with it.")],
    *,
    target_rate: Annotated[
        float | None, typer.Option(help="Requests a second; how many replicas do they need?")
    ] = None,
    p99_ms: Annotated[
        float | None, typer.Option(help="99 % are answered so soon; by default as promised in the report.")
    ] = None,
    manifest: Annotated[
        str,
        typer.Option(
            help="Print only the file of an autoscaler: hpa or keda.", metavar="KIND", show_default=False
        ),
    ] = "",
    variant: Annotated[
        str, typer.Option(help="Scale the Deployment worker-VARIANT.", show_default="the model's name")
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(help="Of the workers' models; once for each.", show_default="the report's"),
    ] = None,
    min_replicas: Annotated[int, typer.Option(help="Never fewer workers than that.")] = 1,
) -> None:
    """Answer from the report of a run of the scenario 'capacity': no load is made."""
    try:
        document = again(read(report), p99_ms=p99_ms, target_rate=target_rate)
        models = tuple(model or [document["model"]])
        scaled = Scaled(variant=variant or variant_of(models[0]), models=models, least=min_replicas)
        print(_text(document, manifest, scaled))  # noqa: T201
    except CapacityError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if manifest:  # the sentences would have said it, and a comment in a file is not seen
        for doubt in document["doubts"]:
            typer.echo(f"do not plan with it: {doubt}", err=True)


def _text(document: Mapping[str, Any], manifest: str, scaled: Scaled) -> str:
    if not manifest:
        return "\n".join(document["sentences"])
    if manifest not in KINDS:
        raise CapacityError(f"--manifest is {manifest!r}, must be hpa or keda")
    if document["autoscaling"] is None:
        raise CapacityError("--manifest: there is no rate at which the promise holds, and so no target")
    target = Target.of_json(document["autoscaling"])
    return text_of(manifest, target, scaled, document["doubts"]).rstrip()


if __name__ == "__main__":
    typer.run(main)
