"""Users of the gateway's own doors: gRPC with this project's stubs, and REST, binary and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import grpc
from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtests.bearer import bearer
from loadtests.exchange import GRPC, REST_BINARY, REST_JSON
from loadtests.swarm.asker import TIMEOUT_S, Asker, Reply, Truth, WrongAnswerError, told
from loadtests.tally import grpc_outcome, http_outcome
from loadtests.traffic import wire
from loadtests.traffic.grpc_wire import grpc_answer, grpc_request
from loadtests.traffic.questions import Question
from loadtests.traffic.wire import AnswerError
from serve.pb import experiments_pb2 as epb
from serve.pb import open_inference_pb2 as pb
from serve.pb.experiments_pb2_grpc import ExperimentsStub
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

_OK: Final = "ok"
_RECEIPT: Final = "RECEIPT_"  # how the names of gRPC's receipts begin


class GrpcUser(Asker):
    """A client of the gRPC door; one channel for its whole life."""

    way = GRPC

    def connect(self) -> None:
        """See `Asker`."""
        # A connection of its own: users in one process would share one otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._metadata = list(bearer(self.stage.options.token).items())
        self._channel = grpc.insecure_channel(self.stage.options.grpc, options=options)
        self._infer = GRPCInferenceServiceStub(self._channel).ModelInfer
        self._record = ExperimentsStub(self._channel).RecordOutcomes

    def disconnect(self) -> None:
        """See `Asker`."""
        self._channel.close()

    def encode(self, question: Question) -> pb.ModelInferRequest:
        """See `Asker`."""
        return grpc_request(question)

    def send(self, message: pb.ModelInferRequest, question: Question) -> Reply:  # noqa: ARG002  as in `Asker`
        """See `Asker`."""
        try:
            response = self._infer(message, timeout=self.stage.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            text = error.details() or ""
            return Reply(outcome=grpc_outcome(error.code(), text), message=text)
        try:
            return Reply(outcome=_OK, answer=grpc_answer(response), size=response.ByteSize())
        except AnswerError as error:
            return Reply(outcome=_OK, message=str(error), size=response.ByteSize())

    def tell(self, experiment: str, truths: Sequence[Truth]) -> Mapping[str, int]:
        """See `Asker`."""
        outcomes = [
            epb.OutcomeItem(feedback_token=truth.token, label=truth.label, item=truth.item)
            for truth in truths
        ]
        request = epb.RecordOutcomesRequest(name=experiment, outcomes=outcomes)
        try:
            response = self._record(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise WrongAnswerError(f"{error.code().name}: {error.details()}") from None
        names = (epb.Receipt.Name(outcome.receipt) for outcome in response.outcomes)
        return Counter(name.removeprefix(_RECEIPT).lower() for name in names)


class RestUser(FastHttpUser, Asker):
    """A client of the REST door; one kept-alive connection."""

    abstract = True
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S
    concurrency = 1

    def __init__(self, environment: Environment) -> None:
        """See `Asker`."""
        self.default_headers = bearer(self.stage.options.token) or None
        self.network_timeout = self.stage.timeout_s
        super().__init__(environment)

    def disconnect(self) -> None:
        """See `Asker`."""
        self.client.client.close()

    def send(self, message: tuple[bytes, dict[str, str]], question: Question) -> Reply:
        """See `Asker`."""
        body, headers = message
        response = self._post(f"/v2/models/{quote(question.model, safe='')}/infer", body, headers)
        outcome, content = http_outcome(response.status_code), response.content or b""
        if outcome != _OK:
            return Reply(outcome=outcome, message=_reason(response), size=len(content))
        length = response.headers and response.headers.get(wire.HEADER_LENGTH)
        try:
            answer = wire.rest_answer(content, str(length) if length else None)
        except AnswerError as error:
            return Reply(outcome=outcome, message=str(error), size=len(content))
        return Reply(outcome=outcome, answer=answer, size=len(content))

    def tell(self, experiment: str, truths: Sequence[Truth]) -> Mapping[str, int]:
        """See `Asker`."""
        path, document = told(experiment, truths)
        headers = {"Content-Type": "application/json"}
        response = self._post(path, json.dumps(document).encode(), headers)
        try:
            return Counter(str(one["status"]) for one in json.loads(response.content or b"")["outcomes"])
        except (KeyError, TypeError, ValueError):
            raise WrongAnswerError(f"{response.status_code}: {_reason(response)}") from None

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> ResponseContextManager:
        # Locust would report to its statistics when the block of a `with` ends; we do that ourselves, since a
        # request's time counts from when it was due.
        return self.client.post(path, data=body, headers=headers, catch_response=True)  # type: ignore[arg-type] # bytes are fine


class RestBinaryUser(RestUser):
    """Sends and asks for binary tensor data."""

    way = REST_BINARY

    def encode(self, question: Question) -> tuple[bytes, dict[str, str]]:
        """See `Asker`."""
        return wire.rest_binary(question)


class RestJsonUser(RestUser):
    """Sends and asks for plain JSON."""

    way = REST_JSON

    def encode(self, question: Question) -> tuple[bytes, dict[str, str]]:
        """See `Asker`."""
        return wire.rest_json(question)


def _reason(response: ResponseContextManager) -> str:
    """What a reply that is no answer says, or why none came."""
    text = response.text or ""
    try:
        return str(json.loads(text)["error"])
    except (KeyError, TypeError, ValueError):
        return text or str(response.request_meta["exception"])
