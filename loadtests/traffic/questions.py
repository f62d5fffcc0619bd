"""What the load tests ask, what comes back, and the mix from which questions are drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadtests.traffic.corpus import Corpus
from loadtests.traffic.sample import Sample

LARGEST_BATCH: Final = 5
# What the gateway reads as JSON is at most 8 MiB and a million numbers, and each question may be asked in it.
MOST_ENCODED_BYTES: Final = 6_000_000  # as base64 a third more
MOST_NUMBERS: Final = 200_000  # writing decimals takes the generator time: an image of 224 x 224 is 150,528
NOISE_STEPS: Final = 32  # within 1; their decimals are short, so that JSON is
CLIENT_ERROR: Final = "client_error"  # the gateway's label `outcome` of whatever is its caller's fault

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model that is asked, or an alias or an experiment.

    Attributes:
        name: That is asked for.
        labels: K of them, in the order of the probabilities.
        input_size: Height and width of the `input` tensor, in pixels.
        max_batch: Most images that the gateway gives to the model at once.
        served_by: Names that an answer may carry: its own for a model, those of the arms for an experiment.
    """

    name: str
    labels: tuple[str, ...]
    input_size: tuple[int, int]
    max_batch: int
    served_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The only right answer to a question that must not be answered.

    Attributes:
        outcome: The gateway's label of its metrics.
        text: What its message must contain.
    """

    outcome: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One inference request.

    Attributes:
        request_id: Comes back in the answer; shows whether two answers were exchanged.
        model: Name of the model, an alias or an experiment.
        samples: The N images, at least one.
        kind: What is asked, for people; one of `KINDS`.
        array: What is sent instead of encoded images: `pixels`, uint8 [N,H,W,3], or `input`,
            float32 [N,3,H,W].
        unit: For whom it is asked; an experiment gives the same arm to it every time. "": not said.
        deadline_ms: After that nobody waits for the answer any more; 0: no deadline.
        refusal: What must come back instead of an answer; None: an answer must come.
    """

    request_id: str
    model: str
    samples: tuple[Sample, ...]
    kind: str = "one image"
    array: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    unit: str = ""
    deadline_ms: float = 0.0
    refusal: Refusal | None = None

    @property
    def parameters(self) -> dict[str, str | int]:
        """The request's parameters, in the protocol's terms: `timeout` is in microseconds."""
        found: dict[str, str | int] = {"unit": self.unit} if self.unit else {}
        return found | ({"timeout": round(1e3 * self.deadline_ms)} if self.deadline_ms else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for N images.

    Attributes:
        request_id: Of the question.
        model: That answered.
        probabilities: float32 [N,K].
        labels: N of them.
        parameters: Of the reply, as text: `experiment`, `arm`, `assignment`, `feedback_token`.
    """

    request_id: str
    model: str
    probabilities: Floats
    labels: tuple[str, ...]
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a question asks about, and what must come back."""

    samples: tuple[Sample, ...]
    array: NDArray[Any] | None = None
    refusal: Refusal | None = None


class Mix:
    """Draws questions of any kind; the same seed gives the same ones."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        corpus: Corpus,
        *,
        seed: int | str,
        units: int = 0,
        deadline_ms: float = 0.0,
    ) -> None:
        """Fill the urn.

        Args:
            subjects: Whom to ask, at least one.
            corpus: What to ask about.
            seed: Of the draws. Users who draw at the same time need different ones.
            units: How many different units ask; 0: none is named.
            deadline_ms: Of every question; 0: none.
        """
        self.subjects = {subject.name: subject for subject in subjects}
        self.corpus = corpus
        self.chance = random.Random(seed)
        self._names = tuple(self.subjects)
        self._units = units
        self._deadline_ms = deadline_ms

    @property
    def kinds(self) -> tuple[QuestionKind, ...]:
        """Those that can be drawn: all but photographs where there are none."""
        return tuple(kind for kind in KINDS.values() if kind.name != "photograph" or self.corpus.photographs)

    def draw(self, kind: str, model: str | None = None) -> Question:
        """Draw a question.

        Args:
            kind: A name of `KINDS`.
            model: Whom to ask; None: anybody.
        """
        subject = self.subjects[model or self.chance.choice(self._names)]
        content = KINDS[kind].content(self, subject)
        return Question(
            request_id=f"{self.chance.getrandbits(128):032x}",
            model=subject.name,
            samples=content.samples,
            kind=kind,
            array=content.array,
            unit=f"unit-{self.chance.randrange(self._units)}" if self._units else "",
            deadline_ms=self._deadline_ms,
            refusal=content.refusal,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionKind:
    """A kind of question.

    Attributes:
        name: For people, and Locust's name of the request.
        tag: Locust's tag, by which people choose.
        weight: How often it is drawn, against the others.
        content: Draws what it asks about.
    """

    name: str
    tag: str
    weight: int
    content: Callable[[Mix, Subject], _Content]


def _one_image(mix: Mix, _subject: Subject) -> _Content:
    return _Content(samples=_labelled(mix, 1))


def _few_images(mix: Mix, _subject: Subject) -> _Content:
    return _Content(samples=_labelled(mix, mix.chance.randint(2, LARGEST_BATCH)))


def _photograph(mix: Mix, _subject: Subject) -> _Content:
    return _Content(samples=(mix.chance.choice(mix.corpus.photographs),))


def _pixels(mix: Mix, _subject: Subject) -> _Content:
    """Pictures of one size, since they are one tensor."""
    first = mix.chance.choice(mix.corpus.pictures)
    alike = [picture for picture in mix.corpus.pictures if picture.pixels.shape == first.pixels.shape]
    pictures = mix.chance.choices(alike, k=_count(mix, first.pixels.size))
    return _Content(
        samples=tuple(picture.sample for picture in pictures),
        array=np.stack([picture.pixels for picture in pictures]),
    )


def _input(mix: Mix, subject: Subject) -> _Content:
    """Noise with the mean and spread of normalised images: what it shows is nobody's to say."""
    shape = (3, *subject.input_size)
    count = _count(mix, math.prod(shape))
    noise = np.random.default_rng(mix.chance.getrandbits(64))
    array = noise.standard_normal((count, *shape), np.float32)
    return _Content(
        samples=(Sample(name="noise", label="", encoded=b""),) * count,
        array=np.rint(NOISE_STEPS * array) / np.float32(NOISE_STEPS),
    )


def _count(mix: Mix, numbers: int) -> int:
    """How many images of so many numbers go into one tensor."""
    return mix.chance.randint(1, max(1, min(LARGEST_BATCH, MOST_NUMBERS // numbers)))


def _corrupt_image(mix: Mix, _subject: Subject) -> _Content:
    return _refused(mix, mix.corpus.corrupt)


def _oversized_image(mix: Mix, _subject: Subject) -> _Content:
    return _refused(mix, mix.corpus.oversized)


def _refused(mix: Mix, bad: Sequence[Sample]) -> _Content:
    """One that must be refused, alone or at any place among good ones; the refusal names its place."""
    samples = list(_labelled(mix, mix.chance.randint(1, LARGEST_BATCH)))
    place = mix.chance.randrange(len(samples))
    samples[place] = mix.chance.choice(bad)
    refusal = Refusal(outcome=CLIENT_ERROR, text=f"image [{place}]: image: {samples[place].refusal}")
    return _Content(samples=tuple(samples), refusal=refusal)


def _labelled(mix: Mix, count: int) -> tuple[Sample, ...]:
    """So many, or fewer where they are large."""
    drawn = mix.chance.choices(mix.corpus.labelled, k=count)
    sizes = accumulate(len(sample.encoded) for sample in drawn)
    return tuple(sample for sample, size in zip(drawn, sizes, strict=True) if size <= MOST_ENCODED_BYTES) or (
        drawn[0],
    )


KINDS: Final[Mapping[str, QuestionKind]] = {
    kind.name: kind
    for kind in (
        QuestionKind(name="one image", tag="image", weight=12, content=_one_image),
        QuestionKind(name="few images", tag="batch", weight=6, content=_few_images),
        QuestionKind(name="photograph", tag="photo", weight=2, content=_photograph),
        QuestionKind(name="pixels", tag="tensor", weight=2, content=_pixels),
        QuestionKind(name="input", tag="tensor", weight=2, content=_input),
        QuestionKind(name="corrupt image", tag="corrupt", weight=2, content=_corrupt_image),
        QuestionKind(name="oversized image", tag="oversized", weight=1, content=_oversized_image),
    )
}
