"""Facts about an experiment in any order, and the sums that follow from them, counted plainly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from hypothesis import strategies as st

from serve.core.experiment import Arm, Design, Experiment, Guardrail, KeepImages, Mode, State
from serve.core.record import CallRecord, Outcome, Role, Said, Ticket
from serve.ledger.ledger import Ledger

LABELS = ("zero", "one", "two")
SLOW_MS = 0.5
T0 = 1_000_000.0

Fact = CallRecord | Outcome

_numbers = count()


def a_design(name: str, mode: Mode = Mode.PAIRED, keep_images: KeepImages | None = None) -> Design:
    """Three arms; calls of more than half a millisecond are slow."""
    weights: tuple[int | None, ...] = (None,) * 3 if mode is Mode.SHADOW else (4000, 3000, 3000)
    return Design(
        name=name,
        mode=mode,
        arms=tuple(
            Arm(name=f"arm{index}", model=f"net{index}", version="1", weight=weight)
            for index, weight in enumerate(weights)
        ),
        guardrails=(
            Guardrail(metric="error_rate"),
            Guardrail(metric="slo_exceedance", threshold_ms=SLOW_MS),
        ),
        keep_images=keep_images,
    )


def a_started(mode: Mode = Mode.PAIRED, keep_images: KeepImages | None = None) -> Experiment:
    """An experiment that runs, in its second phase; not kept yet. Each has a name of its own."""
    design = a_design(f"test{next(_numbers)}", mode, keep_images)
    return Experiment(
        number=2,
        design=design,
        state=State.RUNNING,
        phase=1,
        phases=(design.weights, design.weights),
        labels=LABELS,
        effective_at=T0,
        created_at=T0,
        act="start",
        author="ann",
        reason="because",
    )


def kept(ledger: Ledger, experiment: Experiment) -> Experiment:
    """It, and a draft before it, in a ledger."""
    draft = replace(experiment, number=1, state=State.DRAFT, act="create")
    ledger.versions.add(draft)
    return ledger.versions.append(experiment)


def a_prediction(number: int) -> str:
    """The name of a prediction."""
    return f"{number:032x}"


def a_unit(number: int) -> str:
    """The hash of a unit."""
    return f"{number:032x}"


def a_call(
    experiment: Experiment, number: int, arm: int, said: Sequence[int | None], unit: int = 0
) -> CallRecord:
    """An arm's call for the prediction of that number: the classes that it said, all equally sure."""
    return CallRecord(
        experiment=experiment.id,
        version=experiment.number,
        phase=1,
        prediction=a_prediction(number),
        unit=a_unit(unit),
        arm=arm,
        role=Role.MIRROR if arm else Role.SERVED,
        at=T0 + number,
        model=f"net{arm}",
        model_version="1",
        outcome="ok",
        failed=False,
        latency_us=400 + 200 * arm,
        queue_us=10,
        answers=tuple(None if top1 is None else Said(top1=top1, confidence=8000) for top1 in said),
    )


def a_ticket(call: CallRecord) -> Ticket:
    """What the caller got with the answer."""
    return Ticket(
        experiment=call.experiment,
        version=call.version,
        phase=call.phase,
        prediction=call.prediction,
        unit=call.unit,
        arm=call.arm,
        issued_at=int(call.at),
        answers=call.answers,
    )


def an_outcome(call: CallRecord, label: int, item: int = 0, *, ticket: bool = True) -> Outcome:
    """The true label of an image, with or without the ticket of that call."""
    return Outcome(
        ticket=a_ticket(call) if ticket else None,
        experiment=call.experiment,
        prediction=call.prediction,
        item=item,
        label=label,
        source="bob",
        at=call.at + 60,
    )


# What is told at once: only calls, or only outcomes.
Story = list[list[Fact]]


@st.composite
def _calls(draw: st.DrawFn, number: int, *, split: bool) -> list[CallRecord]:
    """The calls of one request."""
    items = draw(st.integers(1, 2))
    answer = st.none() | st.builds(
        Said, top1=st.integers(0, 2), confidence=st.sampled_from([3400, 8000, 10_000])
    )
    arms = [draw(st.integers(0, 2))] if split else [0, *draw(st.sets(st.integers(1, 2)))]
    unit, phase = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    calls = []
    for arm in arms:
        answered = draw(st.integers(0, 5)) > 0
        calls.append(
            CallRecord(
                experiment=0,
                version=2,
                phase=phase,
                prediction=a_prediction(number),
                unit=a_unit(unit),
                arm=arm,
                role=Role.SERVED if split or not arm else Role.MIRROR,
                at=T0 + number / 4,
                model=f"net{arm}",
                model_version="1",
                outcome="ok" if answered else "internal",
                failed=not answered or draw(st.booleans()),
                latency_us=draw(st.integers(300, 700)),
                queue_us=draw(st.integers(0, 300)),
                answers=tuple(draw(answer) for _ in range(items)) if answered else (),
            )
        )
    return calls


@st.composite
def stories(draw: st.DrawFn, *, split: bool = False) -> Story:
    """Calls and labels that are lost, told twice, told in any order."""
    facts: list[Fact] = []
    for number in range(draw(st.integers(1, 6))):
        calls = draw(_calls(number, split=split))
        for call in calls:
            facts += [call] * draw(st.sampled_from([0, 1, 1, 1, 2]))
        served = calls[0]
        for item in range(len(served.answers)):
            for _ in range(draw(st.integers(0, 2))):
                label, ticket = draw(st.integers(0, 2)), draw(st.booleans())
                facts.append(an_outcome(served, label, item, ticket=ticket))
    story: Story = []
    for fact in draw(st.permutations(facts)):
        if not story or type(fact) is not type(story[-1][0]) or draw(st.booleans()):
            story.append([])
        story[-1].append(fact)
    return story


def owned(fact: Fact, identity: int) -> Fact:
    """The same fact about the experiment with that id."""
    if isinstance(fact, CallRecord) or fact.ticket is None:
        return replace(fact, experiment=identity)
    return replace(fact, experiment=identity, ticket=replace(fact.ticket, experiment=identity))
