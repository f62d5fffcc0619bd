"""`attnserve zoo`, `build` and `inspect`, which the gateway's command line finds by their entry points.

torch is imported inside the functions: `attnserve --help` must not wait seconds for it.
Exit codes: 0 done, 1 it was tried and failed, 2 what was asked for is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from model_store.errors import ArchiveError, BuildError, InputError
from model_store.options import RESPONSE_TIMEOUT_S, CudaDtype, ServingOptions

FAILED, WRONG = 1, 2
ARCHIVES: Final = Path("model_store/archives")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What a way to build needs exactly one of, and what it may have."""

    one_of: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


_WAYS: Final[Mapping[str, _Way]] = {
    "--demo": _Way(optional=frozenset({"--samples", "--checkpoints", "--force"})),
    "--arch": _Way(
        one_of=frozenset({"--checkpoint", "--untrained"}),
        optional=frozenset({"--labels", "--name", "--version"}),
    ),
    "--torchscript": _Way(one_of=frozenset({"--signature"})),
}

_NEEDED: Final = frozenset({"PIL", "numpy", "sklearn", "torch", "yaml"})  # perhaps missing beside a gateway

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


def zoo(as_json: JsonOption = False) -> None:
    """List the nets that can be built by name.

    Example: attnserve zoo --json
    """
    with _told_briefly():
        from model_store.listing import listing  # noqa: PLC0415  see the module's docstring
        from model_store.show import console, show_zoo  # noqa: PLC0415

        rows = listing()
        if as_json:
            typer.echo(json.dumps([row.as_dict() for row in rows], indent=2))
            return
        show_zoo(console(), rows)


def inspect(
    archive: Annotated[Path, typer.Argument(help="A .mar file.", metavar="ARCHIVE")],
    as_json: JsonOption = False,
) -> None:
    """Show an archive's card and check its hashes; exit code 1 when one differs.

    Example: attnserve inspect model_store/archives/digits_se.mar
    """
    with _told_briefly():
        from model_store.inspect_archive import inspect as read  # noqa: PLC0415
        from model_store.show import console, show_inspection  # noqa: PLC0415

        found = read(archive)
        if as_json:
            typer.echo(json.dumps(found.as_dict(), indent=2))
        else:
            show_inspection(console(), found)
        if not found.intact:
            raise ArchiveError(f"archive: {str(archive)!r} does not match its hashes")


def build(  # noqa: PLR0913, PLR0917  typer makes an option of each parameter
    demo: Annotated[bool, typer.Option("--demo", help="Train and package the four digits nets.")] = False,
    arch: Annotated[str | None, typer.Option(help="A net of the zoo.", metavar="NAME")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="With --arch: trained weights.", metavar="FILE")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="With --arch: one class a line.", metavar="FILE")
    ] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="With --arch: random weights.")] = False,
    torchscript: Annotated[Path | None, typer.Option(help="Your own net.", metavar="FILE")] = None,
    signature: Annotated[
        Path | None, typer.Option(help="With --torchscript: what it is.", metavar="FILE")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --arch: the model's name.", metavar="NAME")] = None,
    version: Annotated[str | None, typer.Option(help="With --arch: an integer.", metavar="N")] = None,
    samples: Annotated[Path | None, typer.Option(help="With --demo: held-out images.", metavar="DIR")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="With --demo: keep weights.", metavar="DIR")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where archives go.", metavar="DIR")] = ARCHIVES,
    force: Annotated[bool, typer.Option("--force", help="With --demo: build what is there anew.")] = False,
    cuda_dtype: Annotated[
        CudaDtype | None, typer.Option(help="What to compute in on CUDA; else float32.")
    ] = None,
    max_image_bytes: Annotated[
        int | None, typer.Option(help="Longest encoded image that is accepted.", metavar="N")
    ] = None,
    max_image_pixels: Annotated[
        int | None, typer.Option(help="Largest image that is accepted, width x height.", metavar="N")
    ] = None,
    response_timeout_s: Annotated[
        int, typer.Option(help="A worker that takes longer for a batch is replaced.", metavar="N")
    ] = RESPONSE_TIMEOUT_S,
) -> None:
    """Make archives: of the demo, of a zoo net with your weights, or of your own TorchScript.

    Examples: attnserve build --demo

    attnserve build --arch se_resnet50 --checkpoint best.pt --labels classes.txt

    attnserve build --torchscript net.pt --signature net.yaml
    """
    given = {
        "--demo": demo,
        "--arch": arch,
        "--torchscript": torchscript,
        "--checkpoint": checkpoint,
        "--labels": labels,
        "--untrained": untrained,
        "--signature": signature,
        "--name": name,
        "--version": version,
        "--samples": samples,
        "--checkpoints": checkpoints,
        "--force": force,
    }
    with _told_briefly():
        _require_one_way({option for option, value in given.items() if value})
        options = ServingOptions(
            cuda_dtype=cuda_dtype,
            max_image_bytes=max_image_bytes,
            max_image_pixels=max_image_pixels,
            response_timeout_s=response_timeout_s,
        )
        from model_store import build_command  # noqa: PLC0415
        from model_store.build import Order  # noqa: PLC0415

        if demo:
            build_command.demo(output, options, samples=samples, checkpoints=checkpoints, force=force)
        elif arch:
            order = Order(name=name, version=version or "1", options=options)
            build_command.zoo_net(arch, checkpoint, labels, order, output)
        elif torchscript and signature:
            build_command.user_net(torchscript, signature, options, output)


def _require_one_way(given: set[str]) -> None:
    ways = [way for way in _WAYS if way in given]
    if len(ways) != 1:
        raise InputError(f"give exactly one of {', '.join(_WAYS)}; got {' and '.join(ways) or 'none'}")
    (way,) = ways
    foreign = sorted(given - _WAYS[way].optional - _WAYS[way].one_of - {way})
    if foreign:
        raise InputError(f"{', '.join(foreign)} cannot be combined with {way}")
    needed = sorted(_WAYS[way].one_of)
    if needed and len(given & _WAYS[way].one_of) != 1:
        raise InputError(f"{way} needs {'exactly one of ' if len(needed) > 1 else ''}{', '.join(needed)}")


@contextmanager
def _told_briefly() -> Iterator[None]:
    """Turn what is expected to fail into one line and an exit code; a bug keeps its traceback."""
    try:
        yield
    except (BuildError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG if isinstance(error, InputError) else FAILED) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        typer.echo(f"error: this needs {error.name}: pip install 'attnserve[foundry]'", err=True)
        raise typer.Exit(FAILED) from None


def app() -> typer.Typer:
    """The three commands alone, as `python -m model_store.cli` offers them."""
    alone = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    for command in (zoo, build, inspect):
        alone.command()(command)
    return alone


if __name__ == "__main__":
    app()()
