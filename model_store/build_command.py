"""`attnserve build` behind the command line: reads the files, shows progress, says what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from model_store import digits
from model_store.build import STEPS, Order, build_checkpoint, build_untrained, labels_of_checkpoint
from model_store.demo import DEMO, Listener, build_demo
from model_store.errors import InputError
from model_store.options import ServingOptions
from model_store.pack import write_archive
from model_store.recipes import Choice
from model_store.recipes_view import show_choice
from model_store.show import error_console
from model_store.signature import InputRecipe
from model_store.timm_net import TimmNet, build_timm
from model_store.train import Report, Schedule
from model_store.user_net import pack_user_net, read_description, read_recipe
from model_store.weights.fill import Filled

SAMPLES_PER_CLASS: Final = 3


def demo(
    output: Path, options: ServingOptions, *, samples: Path | None, checkpoints: Path | None, force: bool
) -> None:
    """Train and package the four digits nets, and write held-out images where asked to.

    They are tiny: unless the options say otherwise, they are served as they are.
    """
    with _listening() as listener:
        build_demo(output, checkpoints=checkpoints, force=force, options=options, listener=listener)
    if samples is not None:
        written = digits.write_samples(samples, per_class=SAMPLES_PER_CLASS)
        typer.echo(f"{samples}: {len(written)} held-out images")


def zoo_net(architecture: str, weights: Path | None, labels: Path | None, order: Order, output: Path) -> None:
    """Package a zoo net: with weights, which need labels, or untrained without.

    Raises:
        InputError: Weights without labels, or files that cannot be used.
    """
    names = None if labels is None else read_labels(labels)
    if weights is not None:
        names = labels_of_checkpoint(names)
    with _steps(order.name or architecture) as steps:
        told = replace(
            order,
            on_step=steps.begin,
            on_filled=lambda filled: steps.say(_recognised(filled, images_are_told=order.recipe is not None)),
            on_choice=steps.show,
        )
        if weights is not None and names is not None:
            path = build_checkpoint(architecture, weights, names, told, output)
        else:
            path = build_untrained(architecture, names, told, output)
    typer.echo(f"{path}")


def timm_net(
    name: str, weights: Path | None, labels: Path | None, order: Order, output: Path, *, pretrained: bool
) -> None:
    """Package a net of timm: with weights, which need labels, with timm's own weights, or untrained."""
    names = None if labels is None else read_labels(labels)
    wanted = TimmNet(name=name, weights=weights, pretrained=pretrained, labels=names)
    with _steps(order.name or name) as steps:
        path = build_timm(wanted, replace(order, on_step=steps.begin, on_choice=steps.show), output)
    typer.echo(f"{path}")


def user_net(torchscript: Path, signature: Path, options: ServingOptions, output: Path) -> None:
    """Package a user's own TorchScript."""
    description = read_description(signature)
    chosen: list[Choice] = []
    with _working(description.name):
        model = read_bytes(torchscript, "torchscript")
        path = write_archive(output, pack_user_net(model, description, options, on_choice=chosen.append))
    for choice in chosen:
        show_choice(error_console(), description.name, choice)
    typer.echo(f"{path}")


def read_labels(path: Path) -> tuple[str, ...]:
    """One label per line; blank lines at the end do not count.

    Raises:
        InputError: The file cannot be read as UTF-8.
    """
    try:
        # Editors and spreadsheets may begin UTF-8 with a mark that would become part of the first label.
        text = read_bytes(path, "labels").decode("utf-8-sig").rstrip()
    except UnicodeDecodeError as error:
        raise InputError(f"labels: {str(path)!r} must be UTF-8 text: {error}") from error
    return tuple(line.strip() for line in text.split("\n")) if text else ()


def read_preprocessing(path: Path | None) -> InputRecipe | None:
    """Read how images are prepared; None where no file says so.

    Raises:
        InputError: The file cannot be read, or is no `input` object of signature.json.
    """
    return None if path is None else read_recipe(path)


def read_bytes(path: Path, what: str) -> bytes:
    """Read a file that the user named by the parameter `what`.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{what}: cannot read {str(path)!r}: {error.strerror}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """How the build of a zoo net tells what it does: each step when it begins, and what it found out."""

    begin: Callable[[str], None]
    say: Callable[[str], None]
    show: Callable[[Choice], None]


@contextmanager
def _steps(name: str) -> Iterator[_Steps]:
    """A progress bar on a terminal; elsewhere one line for each step."""
    console = error_console()
    show = partial(show_choice, console, name)

    def say(text: str) -> None:
        console.print(f"{name}: {text}", soft_wrap=True, markup=False)

    if not console.is_terminal:
        yield _Steps(begin=say, say=say, show=show)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=len(STEPS))

        def begin(step: str) -> None:
            progress.update(task, description=f"{name}: {step}", completed=STEPS.index(step), refresh=True)

        yield _Steps(begin=begin, say=say, show=show)
        progress.update(task, completed=len(STEPS))


def _recognised(filled: Filled, *, images_are_told: bool) -> str:
    """What a checkpoint turned out to be, and what to mind where it wants other images, in a line."""
    layout, row = filled.layout, filled.row
    settings = "".join(f"; {name.replace('_', ' ')} {value}" for name, value in filled.settings.items())
    minded = f"; mind: {layout.images}" if layout.images and not images_are_told else ""
    return (
        f"weights in the layout {layout.name} ({layout.title}), form {row.form}{settings}: {row.name}{minded}"
    )


def _working(name: str) -> AbstractContextManager[object]:
    """A spinner on a terminal, nothing elsewhere."""
    console = error_console()
    text = f"{name}: trying it, packing"
    return console.status(text) if console.is_terminal else nullcontext()


@contextmanager
def _listening() -> Iterator[Listener]:
    """A progress bar on a terminal; elsewhere one line for each finished net."""
    console = error_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        epochs = Schedule().epochs
        tasks = {name: progress.add_task(name, total=epochs, start=False, state="") for name in DEMO}

        def on_epoch(name: str, epoch: int, accuracy: float) -> None:
            progress.start_task(tasks[name])
            progress.update(tasks[name], completed=epoch, state=f"validation {accuracy:.1%}")

        def on_built(name: str, path: Path, report: Report | None) -> None:
            progress.update(tasks[name], completed=epochs, state="")
            progress.console.print(f"{path}: {_summary(report)}", soft_wrap=True)

        yield Listener(on_epoch=on_epoch, on_built=on_built, on_choice=partial(show_choice, console))


def _summary(report: Report | None) -> str:
    if report is None:
        return "already there, hash matches"
    lower, upper = report.accuracy_interval_95
    return (
        f"held-out accuracy {report.accuracy:.2%} (95 % interval {lower:.1%} to {upper:.1%}), "
        f"trained in {report.training_seconds:.1f} s"
    )
