"""`python -m loadtests.bench_gateway`: CPU time that the gateway's own process spends on a request.

The whole gateway, over an engine that has its answer at hand, in turns with servers on the same libraries,
which do nothing with what they receive (the floor), and on wish with the gateway of another checkout. All are
measured in every round, so that a machine that becomes slower or busier shows in each.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer
from rich.table import Table

from loadtests.console import wide
from loadtests.gateway.load import KINDS, AnswerError, Callers, Load, callers
from loadtests.machine import Machine
from loadtests.stack import Stack, StackError, end_in_order, running_stack

FOLDER: Final = Path(__file__).with_name("gateway")
WARM_UP_S: Final = 0.5
# The servers of a run. The floor is the base of every ratio.
FLOOR, GATEWAY, OTHER = "floor", "gateway", "other"

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: Each measures every row once with every server.
        seconds: Of load on one server.
        idle_s: How long each server is watched while nobody asks for anything.
        callers: Concurrent ones: a row for each number and each of the kinds.
        kinds: Keys of `KINDS`.
    """

    rounds: int = 5
    seconds: float = 1.0
    idle_s: float = 10.0
    callers: tuple[int, ...] = (1, 8, 32)
    kinds: tuple[str, ...] = tuple(KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One server under one load: CPU milliseconds of its process for a request, and requests a second."""

    cpu_ms: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of request at one number of callers; a phase of each server for each round."""

    kind: str
    callers: int
    phases: Mapping[str, tuple[Phase, ...]]

    def cpu_ms(self, server: str) -> float:
        """CPU milliseconds for a request, the median of the rounds."""
        return statistics.median(phase.cpu_ms for phase in self.phases[server])

    def rate(self, server: str) -> float:
        """Requests a second, the median of the rounds."""
        return statistics.median(phase.rate for phase in self.phases[server])

    def ratio(self, server: str, to: str) -> float:
        """CPU for a request over that of another server in the same round; the median of the rounds."""
        pairs = zip(self.phases[server], self.phases[to], strict=True)
        return statistics.median(one.cpu_ms / other.cpu_ms for one, other in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All rows, and the share of a core that each server uses while it has nothing to do."""

    rows: tuple[Row, ...]
    idle: Mapping[str, float]


def main(  # noqa: PLR0913  the options of a command
    *,
    rounds: Annotated[int, typer.Option(help="How often every row is measured.", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="Of load on each server, per row and round.", min=0.1)] = 1.0,
    idle_s: Annotated[float, typer.Option(help="Watch idle servers for so long.", min=0)] = 10.0,
    at: Annotated[str, typer.Option(help="Numbers of callers, by comma.")] = "1,8,32",
    only: Annotated[str, typer.Option(help="Only kinds whose name has this in it.")] = "",
    classes: Annotated[int, typer.Option(help="Of the model: numbers in an answer.", min=1)] = 10,
    against: Annotated[
        Path | None, typer.Option(help="Another checkout, whose gateway is measured as well.", exists=True)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
) -> None:
    """Measure what a request costs the gateway. Takes some minutes; nothing else should run meanwhile."""
    plan = Plan(
        rounds=rounds,
        seconds=seconds,
        idle_s=idle_s,
        callers=tuple(map(int, at.split(","))),
        kinds=tuple(kind for kind in KINDS if only.lower() in kind.lower()),
    )
    try:
        with console.status("starting") as status:
            result = measure(plan, classes, against, status.update)
    except (StackError, AnswerError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    machine = Machine.here()
    show(result, machine)
    if file is not None:
        document = {"machine": asdict(machine), "classes": classes, **asdict(result)}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def measure(plan: Plan, classes: int, against: Path | None, say: Callable[[str], None]) -> Result:
    """Start the servers, measure, end them.

    Args:
        plan: How much.
        classes: Of the gateway's model.
        against: Another checkout of the project; None: there is none to compare with.
        say: Told what is going on.

    Raises:
        StackError: A server did not start.
        AnswerError: A gateway did not answer.
    """
    with callers() as process, _servers(classes, against, process) as servers:
        bench = _Bench(plan, servers, process, say)
        bench.warm_up()
        idle = bench.idle()
        return Result(rows=tuple(bench.rows()), idle=idle)


def show(result: Result, machine: Machine) -> None:
    """Print the table."""
    gateways = [server for server in result.idle if server != FLOOR]
    table = Table(
        "request", "callers", f"{FLOOR}: ms", "1/s", title="CPU for a request, and requests a second"
    )
    for server in gateways:
        for heading in (f"{server}: ms", "1/s", "to floor"):
            table.add_column(heading)
    if OTHER in gateways:
        table.add_column("to other")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in result.rows:
        cells = [str(row.callers), f"{row.cpu_ms(FLOOR):.3f}", f"{row.rate(FLOOR):.0f}"]
        for server in gateways:
            cells += [
                f"{row.cpu_ms(server):.3f}",
                f"{row.rate(server):.0f}",
                f"{row.ratio(server, FLOOR):.2f}",
            ]
        if OTHER in gateways:
            cells.append(f"{row.ratio(GATEWAY, OTHER):.3f}")
        table.add_row(row.kind, *cells)
    console.print(table)
    idle = ", ".join(f"{server} {100 * share:.2f} %" for server, share in result.idle.items())
    console.print(f"Share of a core while idle: {idle}")
    console.print(f"{machine.processor}, {machine.cores} cores; Python {machine.python}; {machine.date}")


@dataclass(frozen=True, slots=True)
class _Bench:
    """The servers by name, and what measures them."""

    plan: Plan
    servers: Mapping[str, Stack]
    process: Callers
    say: Callable[[str], None]

    def warm_up(self) -> None:
        for server in self.servers:
            for kind in self.plan.kinds:
                self._phase(server, kind, max(self.plan.callers), WARM_UP_S)

    def idle(self) -> dict[str, float]:
        """Share of a core that each server uses for nothing."""
        if not self.plan.idle_s:
            return dict.fromkeys(self.servers, 0.0)
        self.say("idle")
        before = {server: _cpu_s(stack) for server, stack in self.servers.items()}
        time.sleep(self.plan.idle_s)
        return {
            server: (_cpu_s(stack) - before[server]) / self.plan.idle_s
            for server, stack in self.servers.items()
        }

    def rows(self) -> Iterator[Row]:
        cases = [(kind, number) for kind in self.plan.kinds for number in self.plan.callers]
        found: dict[tuple[str, int], dict[str, list[Phase]]] = {
            case: {server: [] for server in self.servers} for case in cases
        }
        for turn in range(self.plan.rounds):
            for kind, number in cases:
                self.say(f"round {turn + 1} of {self.plan.rounds}: {kind}, {number} callers")
                for server in self._order(turn):
                    phase = self._phase(server, kind, number, self.plan.seconds)
                    found[kind, number][server].append(phase)
        for (kind, number), phases in found.items():
            frozen = {server: tuple(of) for server, of in phases.items()}
            yield Row(kind=kind, callers=number, phases=frozen)

    def _order(self, turn: int) -> Sequence[str]:
        """Forwards and backwards in turns, so that none always comes after the same other one."""
        order = tuple(self.servers)
        return order if turn % 2 == 0 else order[::-1]

    def _phase(self, server: str, kind: str, number: int, seconds: float) -> Phase:
        stack = self.servers[server]
        before = _cpu_s(stack)
        run = self.process.run(Load(target=stack.target, kind=kind, callers=number, seconds=seconds))
        spent = _cpu_s(stack) - before
        return Phase(cpu_ms=1e3 * spent / run.requests, rate=run.requests / run.seconds)


@contextmanager
def _servers(classes: int, against: Path | None, process: Callers) -> Iterator[dict[str, Stack]]:
    with tempfile.TemporaryDirectory(prefix="attnserve-bench-") as name, ExitStack() as running:

        def start(server: str, program: str, argument: int, checkout: Path) -> Stack:
            settings = {"PYTHONPATH": str(checkout)}
            command = (sys.executable, str(FOLDER / program), str(argument))
            return running.enter_context(running_stack(Path(name) / server, settings, command))

        here = FOLDER.parent.parent
        gateway = start(GATEWAY, "instant.py", classes, here)
        answer = process.answer(gateway.target)
        servers = {FLOOR: start(FLOOR, "floor.py", len(answer), here), GATEWAY: gateway}
        if against is not None:
            servers[OTHER] = start(OTHER, "instant.py", classes, against.resolve())
        yield servers


def _cpu_s(stack: Stack) -> float:
    spent = psutil.Process(stack.pid).cpu_times()
    return float(spent.user + spent.system)


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
