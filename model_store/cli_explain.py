"""`attnserve explain`: the gates of nets for one image.

torch is imported inside the functions: `attnserve --help` must not wait seconds for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from model_store.cli_parts import ARCHIVES, JsonOption, told_briefly
from model_store.errors import InputError
from model_store.files import require_file, write_atomically

if TYPE_CHECKING:
    from model_store.explain import Explained


def explain(
    image: Annotated[Path, typer.Argument(help="The image that is classified.", metavar="IMAGE")],
    models: Annotated[
        list[str], typer.Argument(help="Archives, or names of some in DIR.", metavar="MODEL...")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Draw it as a picture, too.", metavar="FILE.png")
    ] = None,
    store: Annotated[Path, typer.Option(help="Where archives are found by name.", metavar="DIR")] = ARCHIVES,
    as_json: JsonOption = False,
) -> None:
    """Show what the channel attention of nets makes of an image: the gates of each block.

    Runs the archives' own code: name only archives that you trust.

    Example: attnserve explain run/samples/3-0.png digits_se digits_sk --output gates.png
    """
    with told_briefly():
        _require_png(output)
        from model_store.explain import find_archive, read_image

        archives = [find_archive(model, store) for model in models]
        encoded = read_image(image)
        nets = _explained(encoded, archives)
        if output is not None:
            _draw(output, encoded, nets)
        _show(image, nets, as_json=as_json)
        if output is not None:
            typer.echo(f"{output}: written", err=True)


def _require_png(output: Path | None) -> None:
    if output is None:
        return
    import matplotlib  # noqa: F401, ICN001  whether it is there is told before the work, not after

    if output.suffix.lower() != ".png":
        raise InputError(f"output: must end in .png, got {str(output)!r}")
    require_file("output", output)


def _explained(encoded: bytes, archives: Sequence[Path]) -> list[Explained]:
    from model_store.explain import explain as explain_one

    nets = []
    stderr = Console(stderr=True)
    with stderr.status("") as status:  # silent where there is no terminal
        for archive in archives:
            status.update(f"{archive.name}: loading and classifying")
            nets.append(explain_one(encoded, archive))
    return nets


def _draw(output: Path, encoded: bytes, nets: Sequence[Explained]) -> None:
    from model_store.explain_figure import draw  # matplotlib comes with an extra

    picture = draw(encoded, nets)
    write_atomically(output, picture)


def _show(image: Path, nets: Sequence[Explained], *, as_json: bool) -> None:
    from model_store import explain_view, show

    if as_json:
        document = {"image": str(image), "variants": [net.as_dict() for net in nets]}
        typer.echo(json.dumps(document, indent=2))
    else:
        explain_view.show_explained(show.console(), nets)
