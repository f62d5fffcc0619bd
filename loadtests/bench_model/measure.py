"""The run: the forms of one net, and what attention costs over the same backbone, all in the same rounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import psutil
import torch

from loadtests.bench.watch import Watch
from loadtests.bench_model import peak
from loadtests.bench_model.findings import OPENVINO, Findings, Wish
from loadtests.bench_model.forms import FORMS, RECIPES, FormError, Subject, error, make
from loadtests.bench_model.openvino import PRECISIONS, OpenVino, openvino
from loadtests.bench_model.rounds import Key, Timer, interleave, timer
from loadtests.machine import Machine
from model_store.threads import cpu_threads


@dataclass(slots=True)
class _Hall:
    """What has been brought into form so far."""

    wish: Wish
    say: Callable[[str], None]
    timers: dict[Key, Timer] = field(default_factory=dict)
    subjects: dict[str, Subject] = field(default_factory=dict)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def admit(self, net: str, form: str) -> None:
        """A net in a form, with every batch size."""
        if any((key.net, key.form) == (net, form) for key in self.timers):
            return
        self.say(f"{net}: {form}")
        subject = self.subject(net)
        try:
            run = make(form, subject)
            found = error(form, run, subject)
        except (FormError, RuntimeError) as why:
            self.missing.append(f"{net}, {why}")
            return
        self.errors.setdefault(net, {})[form] = found
        for batch in self.wish.batches:
            images = FORMS[form].input(subject.images(batch))
            self.timers[Key(net=net, form=form, batch=batch)] = timer(partial(run, images))

    def subject(self, net: str) -> Subject:
        """The net as it was defined."""
        if net not in self.subjects:
            self.subjects[net] = Subject.of_zoo(net)
        return self.subjects[net]

    def admit_openvino(self, side: OpenVino) -> None:
        """All its forms of the net."""
        net = self.wish.net
        for form in PRECISIONS:
            self.errors[net][OPENVINO + form] = side.errors[form]
            for batch in self.wish.batches:
                self.timers[Key(net=net, form=OPENVINO + form, batch=batch)] = side.timer(form, batch)

    def turns(self) -> dict[Key, Timer]:
        """Nets in the same form are neighbours: they are measured at the same time."""
        forms = list(dict.fromkeys(key.form for key in self.timers))
        nets = list(dict.fromkeys(key.net for key in self.timers))
        order = sorted(self.timers, key=lambda key: (forms.index(key.form), key.batch, nets.index(key.net)))
        return {key: self.timers[key] for key in order}


def measure(wish: Wish, say: Callable[[str], None]) -> Findings:
    """Bring all into form, and give each its turns.

    Raises:
        OpenVinoError: It was wished for and cannot be had.
        UnknownArchitectureError: A net is not in the zoo.
    """
    hall = _Hall(wish=wish, say=say)
    with ExitStack() as stack, cpu_threads(wish.threads), torch.inference_mode():
        _fill(hall)
        if wish.openvino is not None:
            say(f"{wish.net}: OpenVINO, which is installed if this is the first time")
            side = stack.enter_context(openvino(hall.subject(wish.net), wish.threads, wish.openvino))
            hall.admit_openvino(side)
        watch = Watch(psutil.Process().pid)
        rounds = interleave({**peak.timers(), **hall.turns()}, wish.plan, say)
        spent = watch.lap()
    return Findings(
        machine=Machine.here(),
        wish=wish,
        rounds=rounds,
        macs={name: subject.macs for name, subject in hall.subjects.items()},
        peaks=peak.peaks(rounds),
        errors=hall.errors,
        missing=tuple(hall.missing),
        others_cores=max(0.0, spent.machine_s - sum(spent.cpu_s.values())) / spent.seconds,
    )


def _fill(hall: _Hall) -> None:
    for form in hall.wish.forms:
        hall.admit(hall.wish.net, form)
    for pair in hall.wish.pairs:
        for form in RECIPES:
            hall.admit(pair.backbone, form)
            hall.admit(pair.net, form)
