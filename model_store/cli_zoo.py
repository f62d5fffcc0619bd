"""`attnserve zoo`: what can be built by name.

torch is imported inside the functions: `attnserve --help` must not wait seconds for it.
"""

from __future__ import annotations

import json
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape

from model_store.cli_parts import JsonOption, told_briefly
from model_store.errors import InputError

Text: TypeAlias = str | None


def zoo(  # noqa: PLR0913, PLR0917  typer makes an option of each parameter
    name: Annotated[Text, typer.Argument(help="One net, in full.", metavar="[NAME]")] = None,
    family: Annotated[Text, typer.Option(help="Only of this backbone.", metavar="F")] = None,
    attention: Annotated[Text, typer.Option(help="Only with this attention.", metavar="A")] = None,
    form: Annotated[Text, typer.Option(help="Only of this form: torch or caffe.", metavar="F")] = None,
    sort: Annotated[Text, typer.Option(help="By name, parameters, macs or top1.", metavar="KEY")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Write the README's table.")] = False,
) -> None:
    """List the nets that can be built by name, or show all that is known of one.

    Examples: attnserve zoo --attention eca --sort top1 --reverse

    attnserve zoo se_resnet50
    """
    of_many = {
        "--family": family,
        "--attention": attention,
        "--form": form,
        "--sort": sort,
        "--reverse": reverse,
        "--markdown": as_markdown,
    }
    with told_briefly():
        if as_json and as_markdown:
            raise InputError("give one of --json, --markdown; got both")
        if name is not None:
            foreign = [option for option, value in of_many.items() if value]
            if foreign:
                raise InputError(f"{', '.join(foreign)} cannot be combined with a name, got {name!r}")
            _one(name, as_json=as_json)
            return
        from model_store import listing, show, zoo_view

        wanted = listing.Filter(family=family, attention=attention, form=form)
        rows = listing.in_order(listing.filtered(listing.listing(), wanted), sort, reverse=reverse)
        if as_json:
            typer.echo(json.dumps([row.as_dict() for row in rows], indent=2))
        elif as_markdown:
            typer.echo(zoo_view.markdown(rows))
        else:
            zoo_view.show_zoo(show.console(), rows)


def _one(name: str, *, as_json: bool) -> None:
    with Console(stderr=True).status(
        f"{escape(name)}: loading torch, following the net"
    ):  # only on a terminal
        from model_store import show, zoo_view

        found = zoo_view.portrait(name)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        zoo_view.show_portrait(show.console(), found)
