"""Who asks: gRPC and REST clients that check every answer.

Each draws its questions from the same mix: single images, small batches, and a few requests with a corrupt
image, which are right when they are refused. Locust's name of a request says which of them it was.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import grpc
from locust import FastHttpUser, User, constant, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtests import wire
from loadtests.check import fault, refusal_fault, right
from loadtests.corpus import Corpus
from loadtests.tally import GRPC_OUTCOMES, HTTP_OUTCOMES, Exchange
from loadtests.wire import AnswerError, Question
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

TIMEOUT_S = 30.0
LARGEST_BATCH = 5


class WrongAnswerError(Exception):
    """A reply came, and it is not the right one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the users of a run do.

    Attributes:
        grpc: host:port of the gateway's gRPC door.
        models: Names to choose from.
        corpus: Images to choose from.
    """

    grpc: str
    models: tuple[str, ...]
    corpus: Corpus


class Asker(User):
    """Draws questions; how they are asked is the subclass's."""

    abstract = True
    wait_time = constant(0)  # a closed loop: the next question follows the answer
    plan: ClassVar[Plan]  # set by the locustfile before any user exists

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.chance = random.Random()

    @task(6)
    def one_image(self) -> None:
        """One image, PNG or JPEG."""
        self.ask("one image", self._question(1))

    @task(3)
    def few_images(self) -> None:
        """A small batch."""
        self.ask("few images", self._question(self.chance.randint(2, LARGEST_BATCH)))

    @task(1)
    def corrupt_image(self) -> None:
        """One image that is none, alone or among others."""
        count = self.chance.randint(1, LARGEST_BATCH)
        self.ask("corrupt image", self._question(count, corrupt=True))

    def ask(self, name: str, question: Question) -> None:
        """Send a question, check the answer, and report both to Locust under `name`."""
        raise NotImplementedError

    def _question(self, count: int, *, corrupt: bool = False) -> Question:
        draw = self.plan.corpus.draw_with_corrupt if corrupt else self.plan.corpus.draw
        return Question(
            request_id=uuid.uuid4().hex,
            model=self.chance.choice(self.plan.models),
            samples=draw(count, self.chance),
        )


class GrpcUser(Asker):
    """A client of the gRPC door; one channel for its whole life."""

    def on_start(self) -> None:
        """Connect."""
        # A connection of its own: users in one process would share one otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(self.plan.grpc, options=options)
        self._infer = GRPCInferenceServiceStub(self._channel).ModelInfer

    def on_stop(self) -> None:
        """Hang up."""
        self._channel.close()

    def ask(self, name: str, question: Question) -> None:
        """See `Asker`."""
        request = wire.grpc_request(question)
        exchange = Exchange(model=question.model, protocol="grpc")
        report: dict[str, Any] = {"request_type": "gRPC", "name": name, "context": {"exchange": exchange}}
        started = time.perf_counter()
        response, refusal = self._call(request)
        seconds = time.perf_counter() - started
        exchange.outcome = GRPC_OUTCOMES[refusal.code() if refusal else grpc.StatusCode.OK]
        self.environment.events.request.fire(
            **report,
            response_time=1e3 * seconds,
            response_length=response.ByteSize() if response else 0,
            exception=_grpc_problem(response, refusal, question, exchange),
        )

    def _call(
        self, request: pb.ModelInferRequest
    ) -> tuple[pb.ModelInferResponse | None, grpc.RpcError | None]:
        try:
            return self._infer(request, timeout=TIMEOUT_S), None
        except grpc.RpcError as error:
            return None, error


class RestUser(FastHttpUser, Asker):
    """A client of the REST door; one kept-alive connection."""

    abstract = True
    form: ClassVar[str]
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S

    def ask(self, name: str, question: Question) -> None:
        """See `Asker`."""
        body, headers = self.encode(question)
        exchange = Exchange(model=question.model, protocol="http")
        with self.client.post(
            f"/v2/models/{quote(question.model, safe='')}/infer",
            data=body,  # type: ignore[arg-type] # bytes are fine, whatever the annotation says
            headers=headers,
            name=f"{name} ({self.form})",
            context={"exchange": exchange},
            catch_response=True,
        ) as response:
            exchange.outcome = HTTP_OUTCOMES.get(response.status_code, exchange.outcome)
            if problem := _rest_problem(response, question, exchange):
                response.failure(problem)
            else:
                response.success()

    def encode(self, question: Question) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        raise NotImplementedError


class RestBinaryUser(RestUser):
    """Sends and asks for binary tensor data."""

    form = "binary"

    def encode(self, question: Question) -> tuple[bytes, dict[str, str]]:
        """See `RestUser`."""
        return wire.rest_binary(question)


class RestJsonUser(RestUser):
    """Sends and asks for plain JSON."""

    form = "JSON"

    def encode(self, question: Question) -> tuple[bytes, dict[str, str]]:
        """See `RestUser`."""
        return wire.rest_json(question)


def _grpc_problem(
    response: pb.ModelInferResponse | None,
    refusal: grpc.RpcError | None,
    question: Question,
    exchange: Exchange,
) -> Exception | None:
    if response is not None:
        return _problem(lambda: wire.grpc_answer(response), question, exchange)
    assert refusal is not None, "a call either returns or raises"  # noqa: S101
    if exchange.outcome == "client_error":
        return _wrong(refusal_fault(refusal.details() or "", question))
    return WrongAnswerError(f"{refusal.code().name}: {refusal.details()}")


def _rest_problem(
    response: ResponseContextManager, question: Question, exchange: Exchange
) -> Exception | None:
    if response.status_code == 200:  # noqa: PLR2004  OK
        length = response.headers and response.headers.get(wire.HEADER_LENGTH)
        header_length = str(length) if length else None
        return _problem(lambda: wire.rest_answer(response.content or b"", header_length), question, exchange)
    if response.status_code == 400:  # noqa: PLR2004  Bad Request
        return _wrong(refusal_fault(response.text or "", question))
    reason = response.text or response.request_meta["exception"]
    return WrongAnswerError(f"{response.status_code}: {reason}")


def _problem(read: Callable[[], wire.Answer], question: Question, exchange: Exchange) -> Exception | None:
    try:
        answer = read()
    except AnswerError as error:
        return error
    problem = _wrong(fault(answer, question))
    if problem is None:
        exchange.right, exchange.judged = right(answer, question), len(question.samples)
    return problem


def _wrong(text: str) -> Exception | None:
    return WrongAnswerError(text) if text else None
