"""Experiments and aliases to keep, plain ones and any that the core allows."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from serve.core.experiment import (
    WHOLE,
    Alias,
    Arm,
    Design,
    Experiment,
    Guardrail,
    KeepImages,
    Mode,
    Override,
    Range,
    State,
)

# All that JSON, SQLite and PostgreSQL can keep: no NUL, no half surrogate pairs.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
names = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,10}", fullmatch=True)
levels = st.floats(min_value=1e-9, max_value=1 - 1e-9)
indices = st.integers(0, 9)
times = st.floats(min_value=0, max_value=4e9) | st.integers(0, 10**10)


def an_experiment(name: str = "test", number: int = 1, reason: str = "because") -> Experiment:
    """A small one, as it is before it is kept."""
    arms = (
        Arm(name="a", model="digits_se", version="1", weight=5000),
        Arm(name="b", model="digits_eca", version="1", weight=5000),
    )
    return Experiment(
        number=number,
        design=Design(name=name, mode=Mode.SPLIT, arms=arms),
        state=State.DRAFT,
        effective_at=1.5,
        created_at=1.25,
        act="create",
        author="ann",
        reason=reason,
    )


def the_next(version: Experiment, state: State = State.RUNNING, reason: str = "because") -> Experiment:
    """A version that may follow."""
    return replace(version, number=version.number + 1, state=state, reason=reason)


def an_alias(name: str = "production", number: int = 1, target: str = "digits_se") -> Alias:
    """A small one, as it is before it is kept."""
    return Alias(name=name, number=number, target=target, effective_at=1.5, author="ann", reason="because")


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Any split design; what is particular to the other modes has no way of its own into a row."""
    share = draw(st.integers(0, WHOLE))
    arms = tuple(
        Arm(
            name=name,
            model=draw(names),
            version="1",
            weight=weight,
            labels=draw(st.dictionaries(texts, texts, max_size=2)),
        )
        for name, weight in (("a", share), ("b", WHOLE - share))
    )
    start = draw(st.integers(0, WHOLE - 1))
    return Design(
        name=draw(names.filter(lambda name: name != "alias")),
        description=draw(st.just("") | texts),
        mode=Mode.SPLIT,
        layer=draw(st.just("") | names),
        slots=(start, draw(st.integers(start + 1, WHOLE))),
        arms=arms,
        ramp=draw(st.integers(0, WHOLE)),
        overrides=tuple(
            Override(unit=draw(texts), arm="b", reason=draw(texts)) for _ in range(draw(st.integers(0, 1)))
        ),
        alpha=draw(levels),
        margin=draw(levels),
        guardrails=draw(st.sampled_from([(), _GUARDRAILS])),
        alias=draw(st.sampled_from(["", "alias"])),
    )


_GUARDRAILS = (
    Guardrail(metric="error_rate"),
    Guardrail(metric="slo_exceedance", threshold_ms=0.1, max_ratio=1.7),
)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """Any version, as it is before it is kept."""
    return Experiment(
        number=1,
        design=draw(designs() | st.just(_PAIRED)),
        state=draw(st.sampled_from(State)),
        phase=draw(indices),
        phases=draw(_tables),
        allocation=tuple(
            draw(st.lists(st.builds(Range, start=indices, stop=indices, arm=indices), max_size=3))
        ),
        labels=tuple(draw(st.lists(texts, max_size=3))),
        translations=draw(_tables),
        winner=draw(st.none() | indices),
        effective_at=draw(times),
        created_at=draw(times),
        act=draw(names),
        author=draw(texts),
        reason=draw(texts),
    )


_tables = st.lists(st.lists(indices, max_size=3).map(tuple), max_size=3).map(tuple)
_PAIRED = Design(
    name="paired",
    mode=Mode.PAIRED,
    arms=an_experiment().design.arms,
    sample=77,
    primary_metric="agreement",
    pairs="all",
    keep_images=KeepImages(max_images=5, days=0.5),
    guardrails=(Guardrail(metric="error_rate"),),
    promote_when_better=True,
)
