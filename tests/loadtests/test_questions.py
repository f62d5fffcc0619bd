"""Which questions are drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.traffic.corpus import LARGEST_SIDE, Corpus, Picture
from loadtests.traffic.questions import KINDS, LARGEST_BATCH, Mix, Question, Subject
from loadtests.traffic.sample import Sample
from loadtests.traffic.wire import rest_json
from serve.edge.strict_json import MAX_JSON_BYTES, MAX_JSON_VALUES

SUBJECTS = tuple(
    Subject(name=name, labels=("3", "7"), input_size=(16, 24), max_batch=8, served_by=(name,))
    for name in ("digits_se", "digits_eca")
)
EVERY_KIND = st.sampled_from(sorted(KINDS))
LABELLED = tuple(Sample(name=f"{n}.png", label="37"[n % 2], encoded=bytes([n])) for n in range(6))
CORPUS = Corpus(
    labelled=LABELLED,
    pictures=tuple(Picture(one, np.full((8, 8 + n % 2, 3), n, np.uint8)) for n, one in enumerate(LABELLED)),
    corrupt=(Sample(name="nothing", label="", encoded=b"", refusal="no bytes"),),
    oversized=(Sample(name="huge", label="", encoded=b"huge", refusal="9 x 9 pixels"),),
    photographs=(Sample(name="photograph", label="", encoded=b"photograph"),),
)


def mix(seed: int | str = 0, corpus: Corpus = CORPUS, units: int = 0) -> Mix:
    """An urn of those."""
    return Mix(SUBJECTS, corpus, seed=seed, units=units)


def drawn(kind: str, count: int = 200) -> list[Question]:
    """Many of a kind."""
    urn = mix()
    return [urn.draw(kind) for _ in range(count)]


def whole(question: Question) -> tuple[object, ...]:
    """All of a question, its array too."""
    array = question.array
    return (question, None if array is None else (array.dtype, array.shape, array.tobytes()))


@given(seed=st.one_of(st.integers(), st.text()), kinds=st.lists(EVERY_KIND, max_size=5))
def test_the_same_seed_asks_the_same(seed: int | str, kinds: list[str]) -> None:
    """To the byte, ids and units too."""
    first, second = mix(seed, units=9), mix(seed, units=9)
    for kind in kinds:
        assert whole(first.draw(kind)) == whole(second.draw(kind))


def test_another_seed_asks_something_else() -> None:
    """Users who share a corpus do not march in step."""
    assert mix("user 1").draw("input").request_id != mix("user 2").draw("input").request_id


@given(kind=EVERY_KIND, seed=st.integers())
def test_every_question_can_be_asked(kind: str, seed: int) -> None:
    """Of its kind, of a subject, with at least one image and at most a few; without a unit unless named."""
    question = mix(seed).draw(kind)
    assert question.kind == kind
    assert question.model in {subject.name for subject in SUBJECTS}
    assert 1 <= len(question.samples) <= LARGEST_BATCH
    assert question.array is None or len(question.array) == len(question.samples)
    assert question.unit == ""
    assert question.parameters == {}
    assert (question.refusal is not None) == any(sample.refusal for sample in question.samples)


def test_every_model_is_asked_unless_one_is_named() -> None:
    """By chance; and only the one that is named."""
    urn = mix()
    assert {urn.draw("one image").model for _ in range(50)} == {"digits_se", "digits_eca"}
    assert {urn.draw("one image", "digits_eca").model for _ in range(50)} == {"digits_eca"}


def test_no_two_questions_have_the_same_id() -> None:
    """An answer that went astray would pass otherwise."""
    urn = mix()
    ids = [urn.draw(kind).request_id for kind in KINDS for _ in range(100)]
    assert len(set(ids)) == len(ids)


def test_each_unit_asks() -> None:
    """As many different ones as were wanted, each again and again."""
    urn = mix(units=5)
    counts = Counter(urn.draw("one image").unit for _ in range(200))
    assert set(counts) == {f"unit-{number}" for number in range(5)}
    assert min(counts.values()) > 10


def test_batches_are_small_and_of_every_size() -> None:
    """From two images on."""
    sizes = {len(question.samples) for question in drawn("few images")}
    assert sizes == set(range(2, LARGEST_BATCH + 1))
    assert {len(question.samples) for question in drawn("one image")} == {1}


def test_pixels_are_those_of_the_samples() -> None:
    """Pictures of different sizes never meet in one tensor; their labels stay known."""
    seen = set()
    for question in drawn("pixels"):
        assert question.array is not None
        assert question.array.dtype == np.uint8
        for sample, pixels in zip(question.samples, question.array, strict=True):
            assert (pixels == sample.encoded[0]).all()
        assert {sample.label for sample in question.samples} <= {"3", "7"}
        seen.add(question.array.shape[1:])
    assert seen == {(8, 8, 3), (8, 9, 3)}


def test_inputs_have_the_models_size_and_no_label() -> None:
    """float32 [N,3,H,W], finite, and spread as normalised images are: mean 0, deviation 1."""
    arrays = []
    for question in drawn("input"):
        assert question.array is not None
        assert question.array.dtype == np.float32
        assert question.array.shape == (len(question.samples), 3, 16, 24)
        assert not any(sample.label for sample in question.samples)
        arrays.append(question.array)
    numbers = np.concatenate(arrays)
    assert np.isfinite(numbers).all()
    # More than 200 * 3 * 16 * 24 numbers: the mean's standard error is below 0.0021.
    assert abs(numbers.mean()) < 0.01
    assert numbers.std() == pytest.approx(1, abs=0.01)


def sized(side: int, encoded: bytes = b"") -> Mix:
    """An urn of one large image, for a net that takes large ones."""
    sample = Sample(name="large", label="3", encoded=encoded)
    picture = Picture(sample, np.full((LARGEST_SIDE, LARGEST_SIDE, 3), 255, np.uint8))
    corpus = replace(CORPUS, labelled=(sample,), pictures=(picture,))
    return Mix([replace(SUBJECTS[0], input_size=(side, side))], corpus, seed=0)


@pytest.mark.parametrize("kind", ["pixels", "input"])
@pytest.mark.parametrize("side", [224, 448])
def test_tensors_fit_into_json(kind: str, side: int) -> None:
    """The gateway reads bounded JSON, and a question may be asked in any form; so large images are few."""
    urn = sized(side)
    for question in [urn.draw(kind) for _ in range(2)]:
        body, _ = rest_json(question)
        assert len(body) <= MAX_JSON_BYTES
        assert body.count(b",") < MAX_JSON_VALUES


@pytest.mark.parametrize("kind", ["few images", "corrupt image"])
def test_large_files_fit_into_json(kind: str) -> None:
    """Likewise: as many as fit, and at least one."""
    for size, most in ((2_000_000, 3), (4_000_000, 1), (7_000_000, 1)):
        urn = sized(16, bytes(size))
        questions = [urn.draw(kind) for _ in range(20)]
        assert max(len(question.samples) for question in questions) == most
    urn = sized(16, bytes(2_000_000))
    assert max(len(rest_json(urn.draw(kind))[0]) for _ in range(5)) <= MAX_JSON_BYTES


@pytest.mark.parametrize(
    ("kind", "refusal"), [("corrupt image", "no bytes"), ("oversized image", "9 x 9 pixels")]
)
def test_what_must_be_refused_stands_anywhere(kind: str, refusal: str) -> None:
    """Exactly one image, alone or at any place among good ones, and the refusal must name its place."""
    seen = set()
    for question in drawn(kind, 400):
        (place,) = [index for index, sample in enumerate(question.samples) if sample.refusal]
        assert question.refusal is not None
        assert question.refusal.outcome == "client_error"
        assert question.refusal.text == f"image [{place}]: image: {refusal}"
        seen.add((len(question.samples), place))
    assert seen == {(count, place) for count in range(1, LARGEST_BATCH + 1) for place in range(count)}


def test_a_deadline_is_every_questions() -> None:
    """In microseconds, beside the unit."""
    urn = Mix(SUBJECTS, CORPUS, seed=1, units=1, deadline_ms=250)
    assert {tuple(urn.draw(kind).parameters.items()) for kind in KINDS} == {
        (("unit", "unit-0"), ("timeout", 250_000))
    }


def test_without_photographs_the_kind_is_left_out() -> None:
    """And no other one."""
    assert mix().kinds == tuple(KINDS.values())
    names = [kind.name for kind in mix(corpus=replace(CORPUS, photographs=())).kinds]
    assert names == [name for name in KINDS if name != "photograph"]


def test_tags_group_the_kinds() -> None:
    """The ones that the command line offers."""
    tags = {tag: [kind.name for kind in kinds] for tag, kinds in groupby(KINDS.values(), lambda one: one.tag)}
    assert set(tags) == {"image", "batch", "photo", "tensor", "corrupt", "oversized"}
    assert tags["tensor"] == ["pixels", "input"]
    assert all(kind.weight > 0 for kind in KINDS.values())
