"""`attnserve build` and `inspect`, which the gateway's command line finds by their entry points.

torch is imported inside the functions: `attnserve --help` must not wait seconds for it.
Exit codes: 0 done, 1 it was tried and failed, 2 what was asked for is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

from model_store.cli_evaluate import evaluate
from model_store.cli_explain import explain
from model_store.cli_parts import ARCHIVES, JsonOption, told_briefly
from model_store.cli_zoo import zoo
from model_store.errors import ArchiveError, InputError
from model_store.files import require_folder
from model_store.options import (
    RESPONSE_TIMEOUT_S,
    CudaDtype,
    Decoder,
    ServingOptions,
    read_recipes,
    read_spin,
    read_threads,
)
from model_store.recipe_table import PORTABLE

Form: TypeAlias = Literal["torch", "caffe"]
"""As in `model_store.zoo`, whose import takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What a way to build needs exactly one of, and what it may have."""

    one_of: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


_OF_CHECKPOINT: Final = frozenset({"--form", "--weights-source", "--licence"})
"""What can only be said of trained weights."""

_WAYS: Final[Mapping[str, _Way]] = {
    "--demo": _Way(optional=frozenset({"--samples", "--checkpoints", "--force"})),
    "--arch": _Way(
        one_of=frozenset({"--checkpoint", "--untrained"}),
        optional=frozenset(
            {"--labels", "--name", "--version", "--preprocessing", "--calibration"} | _OF_CHECKPOINT
        ),
    ),
    "--timm": _Way(
        one_of=frozenset({"--checkpoint", "--pretrained", "--untrained"}),
        optional=frozenset(
            {"--labels", "--name", "--version", "--preprocessing", "--calibration"}
            | _OF_CHECKPOINT - {"--form"}
        ),
    ),
    "--torchscript": _Way(one_of=frozenset({"--signature"})),
}


def inspect(
    archive: Annotated[Path, typer.Argument(help="A .mar file.", metavar="ARCHIVE")],
    as_json: JsonOption = False,
) -> None:
    """Show an archive's card and check its hashes; exit code 1 when one differs.

    Example: attnserve inspect model_store/archives/digits_se.mar
    """
    with told_briefly():
        from model_store.inspect_archive import inspect as read
        from model_store.inspect_view import show_inspection
        from model_store.show import console

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
    timm: Annotated[
        str | None, typer.Option(help="A net of the library timm, if it is installed.", metavar="NAME")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="With --timm: its own weights, from the network.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="With --arch or --timm: trained weights.", metavar="FILE")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="With --arch or --timm: one class a line.", metavar="FILE")
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option(help="With --checkpoint: stride and pooling as in torch's nets or Caffe's."),
    ] = None,
    weights_source: Annotated[
        str | None, typer.Option(help="With --checkpoint: where it is from.", metavar="TEXT")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="With --checkpoint: the weights' licence.", metavar="TEXT")
    ] = None,
    preprocessing: Annotated[
        Path | None,
        typer.Option(help="With --arch or --timm: how images are prepared, YAML.", metavar="FILE"),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="With --arch or --timm: random weights.")
    ] = False,
    torchscript: Annotated[Path | None, typer.Option(help="Your own net.", metavar="FILE")] = None,
    signature: Annotated[
        Path | None, typer.Option(help="With --torchscript: what it is.", metavar="FILE")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --arch or --timm: the model's name.", metavar="NAME")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="With --arch or --timm: an integer.", metavar="N")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="With --demo: held-out images.", metavar="DIR")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="With --demo: keep weights.", metavar="DIR")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where archives go.", metavar="DIR")] = ARCHIVES,
    force: Annotated[bool, typer.Option("--force", help="With --demo: build what is there anew.")] = False,
    cuda_dtype: Annotated[
        CudaDtype | None, typer.Option(help="What to compute in on CUDA; else float32.")
    ] = None,
    recipes: Annotated[
        str | None, typer.Option(help="Forms to serve it in: auto (measured), or names.", metavar="NAME,...")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="With --arch or --timm: real images, which cpu-int8 needs.", metavar="DIR"),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Of the CPU: auto (measured), all or a number.", metavar="N")
    ] = None,
    spin: Annotated[
        str, typer.Option(help="How often a waiting thread looks for work: auto or a number.", metavar="N")
    ] = "auto",
    max_image_bytes: Annotated[
        int | None, typer.Option(help="Longest encoded image that is accepted.", metavar="N")
    ] = None,
    max_image_pixels: Annotated[
        int | None, typer.Option(help="Largest image that is accepted, width x height.", metavar="N")
    ] = None,
    decoder: Annotated[Decoder | None, typer.Option(help="What reads JPEG files in the worker.")] = None,
    response_timeout_s: Annotated[
        int, typer.Option(help="A worker that takes longer for a batch is replaced.", metavar="N")
    ] = RESPONSE_TIMEOUT_S,
) -> None:
    """Make archives: of the demo, of a net of the zoo or of timm, or of your own TorchScript.

    Examples: attnserve build --demo

    attnserve build --arch se_resnet50 --checkpoint best.pt --labels classes.txt

    attnserve build --arch se_resnet50_caffe --checkpoint se_resnet50-ce0d4300.pth --labels imagenet.txt

    attnserve build --timm seresnet50.a1_in1k --pretrained

    attnserve build --torchscript net.pt --signature net.yaml
    """
    given = {
        "--demo": demo,
        "--arch": arch,
        "--timm": timm,
        "--pretrained": pretrained,
        "--torchscript": torchscript,
        "--checkpoint": checkpoint,
        "--labels": labels,
        "--form": form,
        "--weights-source": weights_source,
        "--licence": licence,
        "--preprocessing": preprocessing,
        "--untrained": untrained,
        "--signature": signature,
        "--name": name,
        "--version": version,
        "--samples": samples,
        "--checkpoints": checkpoints,
        "--force": force,
        "--calibration": calibration,
    }
    with told_briefly():
        _require_one_way({option for option, value in given.items() if value})
        require_folder("output", output)
        measured = "auto" if arch or timm else None
        options = ServingOptions(
            cuda_dtype=cuda_dtype,
            recipes=read_recipes(recipes or measured or PORTABLE),
            threads=read_threads(threads or measured),
            spin=read_spin(spin),
            max_image_bytes=max_image_bytes,
            max_image_pixels=max_image_pixels,
            decoder=decoder,
            response_timeout_s=response_timeout_s,
        )
        from model_store import build_command
        from model_store.build import Order, Provenance

        if demo:
            build_command.demo(output, options, samples=samples, checkpoints=checkpoints, force=force)
        elif torchscript and signature:
            build_command.user_net(torchscript, signature, options, output)
        else:
            order = Order(
                name=name,
                version="1" if version is None else version,
                options=options,
                recipe=build_command.read_preprocessing(preprocessing),
                provenance=Provenance(form=form, source=weights_source, licence=licence),
                calibration=calibration,
            )
            if arch:
                build_command.zoo_net(arch, checkpoint, labels, order, output)
            elif timm:
                build_command.timm_net(timm, checkpoint, labels, order, output, pretrained=pretrained)


def _require_one_way(given: set[str]) -> None:
    ways = [way for way in _WAYS if way in given]
    if len(ways) != 1:
        raise InputError(f"give exactly one of {', '.join(_WAYS)}; got {' and '.join(ways) or 'none'}")
    (way,) = ways
    foreign = sorted(given - _WAYS[way].optional - _WAYS[way].one_of - {way})
    if foreign:
        raise InputError(f"{', '.join(foreign)} cannot be combined with {way}")
    untold = sorted(given & _OF_CHECKPOINT)
    if untold and "--checkpoint" not in given:
        raise InputError(f"{', '.join(untold)} needs --checkpoint: it is said of trained weights")
    needed = sorted(_WAYS[way].one_of)
    if needed and len(given & _WAYS[way].one_of) != 1:
        raise InputError(f"{way} needs {'exactly one of ' if len(needed) > 1 else ''}{', '.join(needed)}")


def app() -> typer.Typer:
    """The commands alone, as `python -m model_store.cli` offers them."""
    alone = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    for command in (zoo, build, inspect, evaluate, explain):
        alone.command()(command)
    return alone


if __name__ == "__main__":
    app()()
