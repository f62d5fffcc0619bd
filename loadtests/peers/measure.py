"""The measurement: the servers of a group run side by side and are asked in turn, round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.bare import BareLoop, bare_loop
from loadtests.bench.generator import LoadError
from loadtests.machine import Machine
from loadtests.peers.catalogue import ATTNSERVE, BARE, Peer
from loadtests.peers.contestants import Contestant, attnserve, peer_server
from loadtests.peers.doors import Door
from loadtests.peers.environments import Environments
from loadtests.peers.found import Found, LeftOut, Served, Standing, Turn
from loadtests.peers.generator import Generator, Load, Run, WrongAnswerError
from loadtests.peers.meter import machine_s
from loadtests.peers.nets import PORTABLE, PeersNet, unpack, unpack_archive
from loadtests.peers.plan import Group, Plan, Workload, groups
from loadtests.peers.reference import Reference, reference

START_TIMEOUT_S = 90.0
BARE_BATCH = 16  # the gateway's own default
# Beyond this an idle server takes from the others, and is started for its turns only.
MOST_IDLE_CORES = 0.03


@dataclass(slots=True, kw_only=True)
class _Notes:
    """What is written down on the way."""

    turns: list[Turn] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The things that measure.

    Attributes:
        plan: How much.
        peers: Who is compared with attnserve.
        environments: Where they are installed.
        folder: Keeps archives, nets and what servers write.
        generator: Makes the load.
        say: Tells what is going on.
    """

    plan: Plan
    peers: Sequence[Peer]
    environments: Environments
    folder: Path
    generator: Generator
    say: Callable[[str], None]


class Comparison:
    """One run of the whole comparison."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._notes = _Notes()

    def run(self, workloads: Sequence[Workload], failed: dict[str, str]) -> Found:
        """Measure.

        Args:
            workloads: In this order.
            failed: Reasons of the peers that are left out from the start, by name.
        """
        for workload in workloads:
            for name, reason in failed.items():
                self._leave_out([workload], name, reason)
        for group, members in groups(workloads).items():
            self._group(group, members)
        notes = self._notes
        return Found(
            machine=Machine.here(),
            turns=tuple(notes.turns),
            standings=tuple(notes.standings),
            left_out=tuple(notes.left_out),
            served=tuple(notes.served),
        )

    def _group(self, group: Group, workloads: Sequence[Workload]) -> None:
        folder = self._bench.folder
        net = unpack(folder / "archives", group.model, group.recipe, folder / "nets")
        portable = unpack(folder / "archives", group.model, PORTABLE, folder / "nets")
        asked = {w.name: reference(portable, tensor=w.tensor) for w in workloads}
        first = asked[workloads[0].name]
        with ExitStack() as stack:
            here: list[Contestant] = []
            for contestant in self._contestants(group, net):
                stack.callback(contestant.stop)
                if self._started(contestant, workloads, first):
                    here.append(contestant)
            bare = self._bare(stack, group, first)
            for number in range(self._bench.plan.rounds):
                for workload in workloads:
                    self._round(number, workload, here, asked[workload.name])
                if bare is not None:
                    self._bare_turn(number, workloads[0], bare)

    def _contestants(self, group: Group, net: PeersNet) -> list[Contestant]:
        bench = self._bench
        place = bench.folder / "servers" / f"{net.model}-{net.recipe}-{group.variant}"
        ours = attnserve(bench.folder / "archives", net, place / ATTNSERVE, wished=group.wished)
        return [
            ours,
            *(
                peer_server(peer, group.variant, bench.environments, net, place / peer.name)
                for peer in bench.peers
            ),
        ]

    def _started(self, contestant: Contestant, workloads: Sequence[Workload], given: Reference) -> bool:
        """Start a server, see that it answers rightly, and how idle it is."""
        self._bench.say(f"{contestant.name}: starting")
        try:
            self._start(contestant, given)
        except (WrongAnswerError, OSError) as error:
            self._leave_out(workloads, contestant.name, f"{error}\n{contestant.last_words()}".strip())
            contestant.stop()
            return False
        self._notes.served.append(contestant.served(workloads))
        contestant.restless = contestant.meter.idle_cores(self._bench.plan.idle_s) > MOST_IDLE_CORES
        if contestant.restless:
            contestant.stop()
        return True

    def _start(self, contestant: Contestant, given: Reference) -> None:
        contestant.start()
        load = self._load(contestant, contestant.doors[0], given, 1)
        self._bench.generator.first_answer(load, START_TIMEOUT_S)

    def _round(self, number: int, workload: Workload, here: list[Contestant], given: Reference) -> None:
        """Ask every server in turn; one that answers wrongly takes no further part."""
        # Another one begins each time, so that nobody always follows the same.
        first = number % max(1, len(here))
        for contestant in here[first:] + here[:first]:
            try:
                if contestant.restless:
                    self._start(contestant, given)
                self._turns(number, workload, contestant, given)
                if number == self._bench.plan.rounds - 1:
                    self._stand(workload, contestant)
            except (WrongAnswerError, LoadError, OSError) as error:
                self._leave_out([workload], contestant.name, str(error))
                here.remove(contestant)
                contestant.stop()
            finally:
                if contestant.restless:
                    contestant.stop()

    def _turns(self, number: int, workload: Workload, contestant: Contestant, given: Reference) -> None:
        plan = self._bench.plan
        doors = contestant.doors if plan.all_doors else contestant.doors[:1]
        for callers in plan.callers(workload):
            for door in doors:
                self._bench.say(
                    f"{workload.name}, round {number + 1} of {plan.rounds}: {contestant.name}, {door.name}, "
                    f"callers: {callers}"
                )
                load = self._load(contestant, door, given, callers)
                self._bench.generator.run(load, plan.warm_s)
                self._notes.turns.append(self._turn(number, workload, contestant, load))

    def _turn(self, number: int, workload: Workload, contestant: Contestant, load: Load) -> Turn:
        cpu, machine, began = contestant.meter.cpu_s(), machine_s(), time.perf_counter()
        run = self._bench.generator.run(load, self._bench.plan.seconds(workload))
        spent, seconds = contestant.meter.cpu_s() - cpu, time.perf_counter() - began
        others = max(0.0, machine_s() - machine - spent - run.cpu_s) / seconds
        return Turn(
            workload=workload.name,
            server=contestant.name,
            door=load.target.door.name,
            callers=load.callers,
            round=number,
            run=run,
            server_cpu_s=spent,
            others_cores=others,
        )

    def _load(self, contestant: Contestant, door: Door, given: Reference, callers: int) -> Load:
        return Load(
            target=contestant.target(door), images=given.images, classes=given.classes, callers=callers
        )

    def _stand(self, workload: Workload, contestant: Contestant) -> None:
        meter = contestant.meter
        memory = meter.memory()
        time.sleep(1.0)  # what the last requests left behind is no idleness
        idle = meter.idle_cores(self._bench.plan.idle_s)
        self._notes.standings.append(
            Standing(workload=workload.name, server=contestant.name, memory=memory, idle_cores=idle)
        )

    def _leave_out(self, workloads: Sequence[Workload], server: str, reason: str) -> None:
        for workload in workloads:
            self._notes.left_out.append(LeftOut(workload=workload.name, server=server, reason=reason))
            self._bench.say(f"{workload.name}: {server} is left out: {reason}")

    def _bare(self, stack: ExitStack, group: Group, given: Reference) -> BareLoop | None:
        """A bare loop of the same module, where attnserve serves that very one."""
        if not group.wished or group.variant != "tuned" or given.images.shape or group.model == "trivial":
            return None
        folder = unpack_archive(self._bench.folder / "archives", group.model, self._bench.folder / "bare")
        return stack.enter_context(bare_loop(folder, given.images.blobs, BARE_BATCH))

    def _bare_turn(self, number: int, workload: Workload, bare: BareLoop) -> None:
        self._bench.say(f"{workload.name}, round {number + 1}: bare loop")
        machine, began = machine_s(), time.perf_counter()
        found = bare.run(self._bench.plan.seconds(workload))
        others = max(0.0, machine_s() - machine - found.cpu_s) / (time.perf_counter() - began)
        batch_ms = 1e3 * found.seconds / found.images * BARE_BATCH
        run = Run(requests=found.images, rate=found.rate, p50_ms=batch_ms, p99_ms=batch_ms, cpu_s=0.0)
        self._notes.turns.append(
            Turn(
                workload=workload.name,
                server=BARE,
                door=f"batch {BARE_BATCH}",
                callers=0,
                round=number,
                run=run,
                server_cpu_s=found.cpu_s,
                others_cores=others,
            )
        )
