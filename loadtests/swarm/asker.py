"""Who asks: draws questions, sends each when it is due, and judges every reply.

How questions and answers travel is a subclass's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import quote

from locust import TaskSet, User, constant, tag
from locust.env import Environment
from locust.exception import StopUser

from loadtests.exchange import NO_ANSWER, Exchange
from loadtests.swarm.clock import now
from loadtests.swarm.collect import Collector
from loadtests.swarm.loops import Loop
from loadtests.swarm.options import Options
from loadtests.traffic.check import fault, judged, refusal_fault, right
from loadtests.traffic.questions import KINDS, Answer, Mix, Question

Task: TypeAlias = TaskSet | Callable[..., Any]  # as Locust has it

# Longer than the gateway gives itself for a request whose caller sets no deadline, so that the gateway's own
# verdict comes, and is the one that is counted.
TIMEOUT_S: Final = 45.0
# Beyond a deadline, for the same reason.
GRACE_S: Final = 5.0
FEEDBACK: Final = "feedback"  # Locust's name of telling outcomes
ACCEPTED: Final = "accepted"


class WrongAnswerError(Exception):
    """A reply came, and it is not the right one, or none came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all users of a process share during a run.

    Attributes:
        options: Of the run.
        mix: Draws questions.
        loop: Says when to ask.
        collector: Counts.
    """

    options: Options
    mix: Mix
    loop: Loop
    collector: Collector

    @property
    def timeout_s(self) -> float:
        """Seconds after which a client gives up on its own."""
        deadline_s = self.options.deadline_ms / 1e3
        return deadline_s + GRACE_S if deadline_s else TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        outcome: The gateway's label of its metrics, or `NO_ANSWER`.
        answer: None where it is a refusal, or cannot be read.
        message: Why there is no answer.
        size: Bytes.
    """

    outcome: str = NO_ANSWER
    answer: Answer | None = None
    message: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The right label of an image that was answered by an experiment.

    Attributes:
        token: The reply's feedback token.
        label: What the image shows.
        item: Which image of the request, from 0.
    """

    token: str
    label: str
    item: int


def told(experiment: str, truths: Sequence[Truth]) -> tuple[str, dict[str, Any]]:
    """Path and document of the REST request that tells them."""
    outcomes = [{"feedback_token": one.token, "label": one.label, "item": one.item} for one in truths]
    return f"/v1/experiments/{quote(experiment, safe='')}/outcomes", {"outcomes": outcomes}


def _task(kind: str) -> Task:
    def ask(user: Asker) -> None:
        user.ask(kind)

    ask.__name__ = kind.replace(" ", "_")  # what Locust calls it
    tagged: Task = tag(KINDS[kind].tag)(ask)
    return tagged


# Task -> the kind of question that it asks.
TASKS: Final[Mapping[Task, str]] = {_task(kind): kind for kind in KINDS}
CUT_OFF: Final = Reply(message="was cut off: the run ended before the answer came")


class Asker(User):
    """A user that asks one question after the other."""

    abstract = True
    tasks = [ask for ask, kind in TASKS.items() for _ in range(KINDS[kind].weight)]  # noqa: RUF012  locust's
    wait_time = constant(0)  # the loop says when to ask
    stage: ClassVar[Stage]  # set for each run before any of its users exists
    way: ClassVar[str]  # one of `exchange.PROTOCOLS`

    def __init__(self, environment: Environment) -> None:
        """Wait for `on_start`."""
        super().__init__(environment)
        self._joined = False

    def on_start(self) -> None:
        """Connect, and take part."""
        self.connect()
        self.stage.loop.join(self.way)
        self._joined = True

    def on_stop(self) -> None:
        """Take part no more, and hang up."""
        if self._joined:
            self.stage.loop.leave(self.way)
            self._joined = False
        self.disconnect()

    def connect(self) -> None:
        """Make ready to send."""

    def disconnect(self) -> None:
        """Close what `connect` opened."""

    def encode(self, question: Question) -> Any:  # noqa: ANN401  each way has a message of its own
        """The question's message; done before the request is due, so that it makes none late."""
        raise NotImplementedError

    def send(self, message: Any, question: Question) -> Reply:  # noqa: ANN401  as above
        """Send it, and wait for the reply; whatever becomes of it is in the reply."""
        raise NotImplementedError

    def tell(self, experiment: str, truths: Sequence[Truth]) -> Mapping[str, int]:
        """Tell an experiment the labels that are known.

        Returns:
            How many of them got each receipt, by the receipts' names in REST: "accepted".

        Raises:
            WrongAnswerError: There were no receipts.
        """
        raise NotImplementedError

    def ask(self, kind: str) -> None:
        """Draw a question of that kind, send it when it is due, and report to Locust what came of it."""
        question = self.stage.mix.draw(kind)
        message = self.encode(question)
        due = self.stage.loop.wait(self.way)
        if due is None:
            raise StopUser
        try:
            reply = self._exchange(question, message, due)
            if self.stage.options.feedback and reply.answer:
                self._feed_back(question, reply.answer)
        finally:
            self.stage.loop.done()

    def _exchange(self, question: Question, message: object, due: float) -> Reply:
        reply, sent = CUT_OFF, now()
        try:
            reply = self.send(message, question)
        except Exception as error:  # what is no reply at all is a fault of ours, and Locust shows it, too
            reply = replace(CUT_OFF, message=repr(error))
            raise
        finally:  # also when Locust kills this user: every request that was sent is counted
            exchange = self._judged(
                question,
                reply,
                Exchange(
                    due=due,
                    sent=sent,
                    ended=now(),
                    way=self.way,
                    kind=question.kind,
                    model=question.model,
                    images=len(question.samples),
                ),
            )
            self.stage.collector.add(exchange)
            self._report(exchange.kind, exchange.ended - due, reply.size, exchange.fault)
        return reply

    def _judged(self, question: Question, reply: Reply, sent: Exchange) -> Exchange:
        if reply.answer is None:
            fault_ = refusal_fault(reply.outcome, reply.message, question)
            return replace(sent, outcome=reply.outcome, fault=fault_)
        subject = self.stage.mix.subjects[question.model]
        wrong = fault(reply.answer, question, subject)
        count = 0 if wrong else judged(question, subject)
        return replace(
            sent,
            outcome=reply.outcome,
            served=reply.answer.model,
            arm=reply.answer.parameters.get("arm", ""),
            fault=wrong,
            judged=count,
            right=right(reply.answer, question) if count else 0,
        )

    def _feed_back(self, question: Question, answer: Answer) -> None:
        token, experiment = (answer.parameters.get(name, "") for name in ("feedback_token", "experiment"))
        labels = self.stage.mix.subjects[question.model].labels
        truths = [
            Truth(token=token, label=sample.label, item=item)
            for item, sample in enumerate(question.samples)
            if sample.label in labels
        ]
        if not token or not truths:
            return
        began = now()
        receipts, problem = Counter[str](), ""
        try:
            receipts.update(self.tell(experiment, truths))
        except WrongAnswerError as error:
            problem = str(error)
        self.stage.collector.add_receipts(receipts)
        if others := {name: count for name, count in receipts.items() if name != ACCEPTED}:
            problem = f"outcomes were not accepted: {', '.join(sorted(others))}"
        elif not problem and receipts.total() != len(truths):
            problem = f"{len(truths)} outcomes were told, {receipts.total()} receipts came"
        self._report(FEEDBACK, now() - began, 0, problem)

    def _report(self, name: str, seconds: float, size: int, problem: str) -> None:
        """A row of Locust's own statistics."""
        self.environment.events.request.fire(
            request_type=self.way,
            name=name,
            response_time=1e3 * seconds,
            response_length=size,
            exception=WrongAnswerError(problem) if problem else None,
            context={},
        )
