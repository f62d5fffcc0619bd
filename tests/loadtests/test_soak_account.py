"""The soak's arithmetic: what is asked, which reply is right, and whether two accounts agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from loadtests.soak import encode, replies
from loadtests.soak.account import Account, differences
from loadtests.soak.drive import Course
from loadtests.soak.fakes import FAULTS, card_of
from loadtests.soak.faults import ALL_ENGINES, Fault, FaultKind, Saboteur, schedule
from loadtests.soak.flaws import CORRUPT, FLAWS, TOO_LARGE, UNREADABLE, Flaw
from loadtests.soak.health import Sample, health
from loadtests.soak.judge import OPEN, UNCOUNTED, End, Ending, judge
from loadtests.soak.latency import Latencies
from loadtests.soak.questions import Question, Way, draw
from loadtests.soak.replies import Answer, Broken, Expired, HungUp, Refusal, Reply, Silence
from loadtests.soak.report import Plan, conclude
from loadtests.soak.stocks import fake_stock
from loadtests.traffic.wire import HEADER_LENGTH
from serve.core.answer import compose
from serve.core.errors import Code, ServeError
from serve.core.messages import Batch, InferRequest, Kind, Prediction
from serve.core.query import interpret
from serve.edge import oip_json, oip_proto
from serve.engines.fake import FakeEngine
from serve.pb import open_inference_pb2 as pb

STOCK = fake_stock(7)


def questions(count: int, seed: int = 7) -> list[Question]:
    """The first questions of a run."""
    return [draw(seed, number, STOCK) for number in range(count)]


def plain_question() -> Question:
    """One with nothing special about it."""
    return next(
        question
        for question in questions(1000)
        if question.flaw is None and question.bad_at is None and not question.short
        if question.cancel_after_s is None and not question.outputs and not question.partial
    )


def right_answer(question: Question) -> Answer:
    """What a gateway that works would say to a plain question."""
    expected = [STOCK.expected[question.model.name, item.name] for item in question.items]
    rows = np.full((len(expected), STOCK.classes), 0.1 / (STOCK.classes - 1))
    for row, right in zip(rows, expected, strict=True):
        row[right.index] = right.probability
    return Answer(
        request_id=question.request_id,
        model=question.model.name,
        version=question.model.version,
        outputs={"probabilities": rows, "label": tuple(right.label for right in expected)},
    )


def refused(code: Code, text: str = "no") -> Refusal:
    """A refusal with that code."""
    return Refusal(frozenset({code}), text)


def test_the_seed_decides_all_questions() -> None:
    """Two runs with one seed ask the same; another seed asks something else."""
    assert questions(200) == questions(200)
    assert questions(200) != questions(200, seed=8)


def test_questions_are_of_every_sort() -> None:
    """Ways, kinds, flaws, bad images, short deadlines and cancellations all come up within a short run."""
    asked = questions(6000)
    assert {question.way for question in asked} == set(Way)
    assert {question.items[0].kind for question in asked} == set(Kind)
    assert {question.flaw for question in asked} == {None, CORRUPT, *FLAWS}
    assert {question.model for question in asked} == set(STOCK.models)
    for wanted in (
        lambda question: question.bad_at is not None and question.partial,
        lambda question: question.short,
        lambda question: question.cancel_after_s is not None,
        lambda question: question.typed,
        lambda question: len(question.items) > 16,
    ):
        assert any(map(wanted, asked))


def decoded(question: Question) -> InferRequest:
    """The question as the gateway reads it."""
    if question.way.protocol == "grpc":
        message = oip_proto.parse(pb.ModelInferRequest, encode.grpc_message(question))
        return oip_proto.decode_infer(message)[0]
    post = encode.binary_post(question) if question.way is Way.BINARY else encode.json_post(question)
    body = oip_json.InferBody(content=post.body, header_length=post.headers.get(HEADER_LENGTH))
    request = encode.request_of(question)
    return oip_json.decode_infer(body, model=request.model, version=request.version)


def test_the_gateway_reads_what_was_meant() -> None:
    """Every way says the same: inputs to the last byte, outputs, id and wishes."""
    for question in questions(400):
        if question.flaw is None:
            meant, read = encode.request_of(question), decoded(question)
            assert read.inputs == meant.inputs
            assert read.outputs == meant.outputs
            assert (read.model, read.version, read.request_id) == (
                meant.model,
                meant.version,
                meant.request_id,
            )
            assert {**read.parameters} | {**meant.parameters} == {**read.parameters}


# The doors find out that there are too many bytes, and the repository what is unknown: see the short run.
FOUND_BY_READING = [flaw for flaw in FLAWS if flaw is not TOO_LARGE and flaw.code is not Code.NOT_FOUND]


@pytest.mark.parametrize("flaw", FOUND_BY_READING, ids=lambda flaw: flaw.name)
def test_each_flaw_is_what_it_says(flaw: Flaw) -> None:
    """The gateway's own reading refuses it with the code and words that are expected of the whole gateway."""
    for question in questions(3000):
        if question.flaw is flaw:
            with pytest.raises(ServeError) as caught:
                interpret(decoded(question), card_of(question.model), max_images=128)
            assert caught.value.code is flaw.code
            assert flaw is UNREADABLE or flaw.text in caught.value.message


async def test_answers_are_read_and_found_right() -> None:
    """What the fake engine and the codecs make of good questions is judged as right, in every way."""
    engine = FakeEngine("fake", [card_of(model) for model in STOCK.models])
    for question in questions(300):
        if question.flaw is None:
            card = card_of(question.model)
            query = interpret(encode.request_of(question), card, max_images=128)
            reply = await engine.predict(card.ref, Batch(parts=(query.items,), outputs=query.wants), 5.0)
            prediction = Prediction(
                status=reply.status,
                messages=reply.messages,
                outputs=reply.outputs,
                queue_s=0.0,
                timings=reply.timings,
            )
            response = compose(query, prediction, card)
            seen: Reply
            if question.way.protocol == "grpc":
                seen = replies.of_message(oip_proto.encode_infer(response, raw=not question.typed))
            else:
                encoded = oip_json.encode_infer(response, decoded(question))
                length = None if encoded.header_length is None else str(encoded.header_length)
                seen = replies.of_rest(encoded.content, length)
            ending = judge(question, seen, STOCK, outage=False)
            assert ending.end is End.RIGHT, (question, ending)


def test_a_right_answer_is_right() -> None:
    """The measure of the tests below."""
    question = plain_question()
    assert judge(question, right_answer(question), STOCK, outage=False).end is End.RIGHT


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: replace(answer, request_id="soak-0815"),
        lambda answer: replace(answer, model="other"),
        lambda answer: replace(answer, version="7"),
        lambda answer: replace(answer, outputs={"label": answer.outputs["label"]}),
        lambda answer: replace(answer, outputs={**answer.outputs, "label": ("x",) * 99}),
        lambda answer: replace(
            answer, outputs={**answer.outputs, "probabilities": answer.outputs["probabilities"][:, ::-1]}
        ),
        lambda answer: replace(
            answer, outputs={**answer.outputs, "probabilities": answer.outputs["probabilities"] * np.nan}
        ),
    ],
)
def test_a_wrong_answer_is_lost(change: object) -> None:
    """An exchanged id, another model, rows of somebody else, or values that are not finite."""
    question = plain_question()
    assert callable(change)
    ending = judge(question, change(right_answer(question)), STOCK, outage=False)
    assert (ending.end, ending.reason) == (End.LOST, "wrong answer")


@pytest.mark.parametrize(
    ("reply", "end", "counted"),
    [
        (refused(Code.UNAVAILABLE), End.LOST, "unavailable"),
        (refused(Code.INTERNAL), End.LOST, "internal"),
        (refused(Code.INVALID), End.LOST, "client_error"),
        (refused(Code.DEADLINE), End.LOST, "timeout"),
        (refused(Code.OVERLOADED), End.LOST, "shed"),
        (Refusal(frozenset({Code.OVERLOADED, Code.TOO_LARGE}), "busy"), End.LOST, "shed"),
        (Expired(), End.LOST, OPEN),
        (Silence(), End.LOST, OPEN),
        (Broken("half"), End.LOST, OPEN),
        (HungUp(), End.REFUSED, OPEN),
    ],
)
def test_no_refusal_is_right_while_an_engine_is_well(reply: Reply, end: End, counted: str) -> None:
    """Only a caller that left itself has nothing to complain of."""
    ending = judge(plain_question(), reply, STOCK, outage=False)
    assert (ending.end, ending.counted) == (end, counted)


def test_an_outage_excuses_unavailable_and_nothing_else() -> None:
    """With all engines away the gateway may say so, but neither hang nor be wrong."""
    question = plain_question()
    ends = {
        code: judge(question, refused(code), STOCK, outage=True).end
        for code in (Code.UNAVAILABLE, Code.INTERNAL, Code.DEADLINE)
    }
    assert ends == {
        Code.UNAVAILABLE: End.REFUSED,
        Code.INTERNAL: End.LOST,
        Code.DEADLINE: End.LOST,
    }
    assert judge(question, Silence(), STOCK, outage=True).end is End.LOST


def test_a_short_deadline_excuses_lateness() -> None:
    """Below a second the gateway may be too late or too busy."""
    question = replace(plain_question(), deadline_s=0.02)
    for reply in (refused(Code.DEADLINE), refused(Code.OVERLOADED), Expired()):
        assert judge(question, reply, STOCK, outage=False).end is End.REFUSED
    assert judge(question, refused(Code.UNAVAILABLE), STOCK, outage=False).end is End.LOST


def test_a_bad_request_needs_its_own_refusal() -> None:
    """The right code with the right words; another code, other words, or an answer are wrong."""
    question = next(
        one for one in questions(3000) if one.flaw and one.flaw.name == "unknown model" and not one.typed
    )
    assert judge(question, refused(Code.NOT_FOUND, "model 'x' is not found"), STOCK, outage=False) == Ending(
        End.REFUSED, "bad request: unknown model", "client_error"
    )
    for reply in (
        refused(Code.NOT_FOUND, "something else"),
        refused(Code.INVALID, "model 'x' is not found"),
        right_answer(replace(question, flaw=None)),
    ):
        assert judge(question, reply, STOCK, outage=False).end is End.LOST


def test_a_corrupt_image_must_be_named() -> None:
    """The refusal says which image of the request it was."""
    question = next(one for one in questions(3000) if one.flaw is CORRUPT and one.bad_at)
    named = refused(Code.INVALID, f"image [{question.bad_at}]: cannot decode")
    other = refused(Code.INVALID, "image [99]: cannot decode")
    assert judge(question, named, STOCK, outage=False).end is End.REFUSED
    assert judge(question, other, STOCK, outage=False).end is End.LOST


def test_grpc_refuses_large_messages_before_the_gateway_can_count() -> None:
    """Such a refusal is right, and not expected in the gateway's counters."""
    question = replace(plain_question(), flaw=TOO_LARGE, way=Way.GRPC)
    both = frozenset({Code.TOO_LARGE, Code.OVERLOADED})
    ending = judge(question, Refusal(both, "message larger than max"), STOCK, outage=False)
    assert (ending.end, ending.counted) == (End.REFUSED, UNCOUNTED)


def counted_account(*endings: tuple[str, int]) -> Account:
    """An account of gRPC requests that ended so."""
    account = Account(requests=100)
    question = replace(plain_question(), way=Way.GRPC)
    for counted, times in endings:
        for _ in range(times):
            account.sent += 1
            account.add(question, Ending(End.RIGHT, "x", counted), 0.01, quiet=True)
    return account


def test_accounts_that_agree() -> None:
    """What we saw is there; a request of which we did not see the end may be there or not."""
    account = counted_account(("ok", 5), ("client_error", 2), (OPEN, 3))
    for extra in ({}, {"cancelled": 3}, {"cancelled": 1, "timeout": 1, "ok": 1}):
        theirs = Counter({("grpc", "ok"): 5, ("grpc", "client_error"): 2})
        theirs.update({("grpc", outcome): count for outcome, count in extra.items()})
        assert differences(account, theirs) == []


@pytest.mark.parametrize(
    "theirs",
    [
        {"ok": 4, "client_error": 2},
        {"ok": 5, "client_error": 3},
        {"ok": 5, "client_error": 2, "internal": 1},
        {"ok": 9, "client_error": 2},
        {"ok": 5, "client_error": 2, "cancelled": 4},
    ],
)
def test_accounts_that_differ(theirs: dict[str, int]) -> None:
    """Too few of a kind, one that cannot have been, or more than there were callers that left."""
    account = counted_account(("ok", 5), ("client_error", 2), (OPEN, 3))
    assert differences(account, {("grpc", outcome): count for outcome, count in theirs.items()})


def test_a_request_without_an_ending_is_unaccounted() -> None:
    """Sent is the sum of all endings, or the account says by how much not."""
    account = counted_account(("ok", 5))
    assert account.unaccounted == 0
    account.sent += 1
    assert account.unaccounted == 1


def test_quantiles_are_near() -> None:
    """Within the width of a step, whatever the scale."""
    latencies = Latencies()
    for number in range(1, 10_001):
        latencies.add(number / 1e4)
    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.02)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.02)


def samples(slope_mb: float, *, files: int = 0) -> list[Sample]:
    """A process that warms up, then grows; and opens files in its last quarter."""
    return [
        Sample(
            requests=1000 * number,
            rss_mb=(50.0 if number < 100 else 100.0) + slope_mb * number / 100,
            files=20 + (files if number >= 300 else 0),
            threads=10,
            children=0,
        )
        for number in range(400)
    ]


def test_the_slope_leaves_the_warm_up_out() -> None:
    """MB by 100,000 requests, from the second quarter on."""
    found = health(samples(7.0))
    assert found.slope_mb == pytest.approx(7.0)
    assert found.growth_mb == pytest.approx(7.0 * 2.99)
    assert found.changes == {"files": 0, "threads": 0, "children": 0}
    assert health(samples(0.0, files=9)).changes["files"] == 9


def test_what_waits_beside_a_fault_is_no_leak() -> None:
    """Only samples in quiet are compared; where faults leave too few of them nothing is said."""
    calm = samples(0.0)
    beside = [replace(sample, files=90, quiet=False) for sample in calm[-60:]]
    assert health([*calm[:-60], *beside]).changes["files"] == 0
    assert health([*calm[:300], *(replace(sample, quiet=False) for sample in calm[300:])]).changes == {
        "files": None,
        "threads": None,
        "children": None,
    }


def test_the_seed_decides_the_faults() -> None:
    """The same seed breaks the same engines in the same way, at the same times."""

    def first(seed: int) -> list[Fault]:
        return list(islice(schedule(seed, FAULTS, 3, (0.5, 6.0)), 200))

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert {fault.kind for fault in first(1)} == set(FAULTS)
    assert {fault.engine for fault in first(1)} == {0, 1, 2, ALL_ENGINES}


class Broken3:
    """Three engines that only note which of them are broken, and never all of them by single faults."""

    count = 3

    def __init__(self) -> None:
        self.broken: set[int] = set()
        self.most = 0
        self.outages = 0

    async def begin(self, fault: Fault) -> None:
        """See `Engines`."""
        if fault.engine == ALL_ENGINES:
            assert not self.broken
            self.outages += 1
            return
        assert fault.engine not in self.broken
        self.broken.add(fault.engine)
        self.most = max(self.most, len(self.broken))

    async def end(self, fault: Fault) -> None:
        """See `Engines`."""
        self.broken.discard(fault.engine)


async def test_one_engine_is_always_well() -> None:
    """However dense the schedule, a fault waits until another engine has recovered; at the end all are."""
    kinds = (
        FaultKind(name="hang", seconds=(0.0, 0.03), recovery_s=0.01),
        FaultKind(name="outage", seconds=(0.0, 0.01), recovery_s=0.0, all_engines=True),
    )
    engines = Broken3()
    saboteur = Saboteur(engines, schedule(1, kinds, 3, (0.0, 0.002)))
    running = asyncio.create_task(saboteur.run())
    async with asyncio.timeout(20):
        while saboteur.done["outage"] < 5 or engines.most < 2:  # noqa: ASYNC110  a test's own poll
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert engines.most == 2
    assert engines.broken == set()
    assert engines.outages == saboteur.done["outage"]


@pytest.mark.parametrize(("tasks", "kept"), [(9, True), (90, False)])
def test_what_is_left_at_rest_is_a_leak(tasks: int, *, kept: bool) -> None:
    """However short the run: the gateway's tasks after the last request, less those before the first."""
    course = Course(account=Account(requests=1), samples=samples(0.0), seconds=1.0)
    course.rests = [replace(course.samples[0], tasks=count) for count in (5, tasks)]
    plan = Plan(requests=1, engine="fake", seed=1, workers=1, faults=())
    checks = {check.what: check.kept for check in conclude(plan, course, {}).checks}
    assert checks["tasks at rest: after less before"] is kept
