"""`attnserve experiment ...`: lead experiments through their lives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from serve.cli_gateway import IfMatchOption, NameArgument, ReasonOption, WaitOption, at_gateway, say_changed
from serve.cli_parts import JsonOption
from serve.core.experiment import WHOLE
from serve.experiment_client import ExperimentClient


def _share(text: str) -> int:
    """A share in 1/10 000, from "25%" or "2500"."""
    found = re.fullmatch(r"(\d{1,5})|(\d{1,3})(?:\.(\d{1,2}))?\s*%", text.strip(), re.ASCII)
    if found:
        whole, percent, hundredths = found.groups()
        share = int(whole) if whole else 100 * int(percent) + int((hundredths or "0").ljust(2, "0"))
        if share <= WHOLE:
            return share
    raise typer.BadParameter(f"is {text!r}, must be like 25% (at most two decimals) or 2500 of {WHOLE}")


@at_gateway
def ramp(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    share: Annotated[int, typer.Argument(parser=_share, help="25%, or 2500 of 10000.", metavar="SHARE")],
    reason: ReasonOption,
    *,
    if_match: IfMatchOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol another share of the units; whoever takes part already stays when it grows.

    Example: attnserve experiment ramp digits-se-vs-eca 25% --reason "nothing unusual at 10 %"
    """
    body = {"ramp": share, "reason": reason}
    say_changed(client, client.act(name, "ramp", body, if_match), wait=wait, as_json=as_json)


@at_gateway
def promote(  # noqa: PLR0913  each is an option of the command line
    client: ExperimentClient,
    name: NameArgument,
    reason: ReasonOption,
    *,
    arm: Annotated[
        str, typer.Option("--arm", help="Who wins; of two arms the second.", show_default=False)
    ] = "",
    if_match: IfMatchOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """End it: an arm answers everybody.

    Example: attnserve experiment promote digits-se-vs-eca --arm eca --reason "as good, and cheaper"
    """
    body = {"reason": reason} | ({"arm": arm} if arm else {})
    say_changed(client, client.act(name, "promote", body, if_match), wait=wait, as_json=as_json)


_ACTS: Mapping[str, str] = {
    "start": "Begin to assign units.",
    "pause": "Answer everybody from the control, for now.",
    "resume": "Go on after a pause.",
    "rollback": "End it: the control answers everybody, at once.",
    "stop": "End it without a winner: the control answers everybody, at once.",
}


def _act(act: str) -> Callable[..., None]:
    def do(
        client: ExperimentClient,
        name: NameArgument,
        reason: ReasonOption,
        *,
        if_match: IfMatchOption = None,
        wait: WaitOption = False,
        as_json: JsonOption = False,
    ) -> None:
        say_changed(client, client.act(name, act, {"reason": reason}, if_match), wait=wait, as_json=as_json)

    do.__doc__ = f'{_ACTS[act]}\n\nExample: attnserve experiment {act} digits-se-vs-eca --reason "..."'
    return at_gateway(do)


COMMANDS = {
    "start": _act("start"),
    "ramp": ramp,
    **{act: _act(act) for act in ("pause", "resume")},
    "promote": promote,
    **{act: _act(act) for act in ("rollback", "stop")},
}
